//! What those parts ask of the configuration, as it is where nothing is written.

/// The limits of a listener that bound a head.
pub struct ListenerLimits {
    /// Bytes in the head of a request.
    pub header_bytes: usize,
    /// Fields in it.
    pub headers: usize,
}

/// What holds where nothing is written.
pub mod defaults {
    use super::ListenerLimits;

    /// Those of each listener.
    pub const LISTENER_LIMITS: ListenerLimits = ListenerLimits {
        header_bytes: 32 * 1024,
        headers: 100,
    };
}
