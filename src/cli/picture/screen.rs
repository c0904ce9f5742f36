//! The terminal: how large it is, and how to draw on it over and over without a flicker.

use std::env;
use std::io::{self, Stdout, Write, stdout};

use terminal_size::{Height, Width, terminal_size};

use super::line::Line;
use super::view::Size;

/// The size of a terminal that does not say.
const SIZE: Size = Size {
    columns: 100,
    lines: 24,
};

/// Hides the cursor, and lets no line go on in the next one.
const BEGIN: &str = "\x1b[?25l\x1b[?7l";

/// Takes both back.
const END: &str = "\x1b[?7h\x1b[?25h";

/// Whether the terminal can move its cursor.
pub(crate) fn can_draw() -> bool {
    env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb")
}

/// How large the terminal is.
pub(crate) fn size() -> Size {
    if let Some((Width(columns), Height(lines))) = terminal_size()
        && columns > 0
        && lines > 0
    {
        return Size {
            columns: columns.into(),
            lines: lines.into(),
        };
    }
    let of = |name, otherwise| {
        let text = env::var(name).ok();
        let number = text.and_then(|text| text.parse().ok());
        number.filter(|number| *number > 0).unwrap_or(otherwise)
    };
    Size {
        columns: of("COLUMNS", SIZE.columns),
        lines: of("LINES", SIZE.lines),
    }
}

/// A picture on the terminal that is drawn anew in its place. What was drawn last stays, and the
/// cursor comes back, however it ends.
pub(crate) struct Screen {
    out: Stdout,
    has_colour: bool,
    /// How large the terminal was, and how many lines were drawn.
    drawn: Option<(Size, usize)>,
}

impl Screen {
    /// Takes the terminal over; `NO_COLOR` (no-color.org) is heeded.
    pub(crate) fn open() -> io::Result<Self> {
        let mut out = stdout();
        write!(out, "{BEGIN}")?;
        out.flush()?;
        Ok(Self {
            out,
            has_colour: env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
            drawn: None,
        })
    }

    /// Draws lines in the place of those before.
    pub(crate) fn draw(&mut self, lines: &[Line], size: Size) -> io::Result<()> {
        let text = frame(lines, self.drawn, size, self.has_colour);
        self.drawn = Some((size, lines.len()));
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}

/// Everything in one piece, between the marks of a synchronised update (which terminals that do
/// not know them leave alone), and each line over the one before: there is nothing to flicker.
pub(crate) fn frame(
    lines: &[Line],
    before: Option<(Size, usize)>,
    size: Size,
    has_colour: bool,
) -> String {
    let mut text = "\x1b[?2026h".to_owned();
    match before {
        // What was drawn has been broken up by the terminal: nobody knows where it begins.
        Some((drawn_at, _)) if drawn_at != size => text += "\x1b[2J\x1b[H",
        Some((_, drawn)) if drawn > 1 => text += &format!("\r\x1b[{}A", drawn - 1),
        Some(_) => text += "\r",
        None => {}
    }
    for (place, line) in lines.iter().enumerate() {
        if place > 0 {
            text += "\r\n";
        }
        text += &match has_colour {
            true => line.painted(),
            false => line.plain(),
        };
        // In a full line the cursor stands on its last column still, which would be erased.
        if line.width() < size.columns {
            text += "\x1b[K";
        }
    }
    text + "\x1b[J\x1b[?2026l"
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that has gone needs no cursor.
        let _ = writeln!(self.out, "{END}");
        let _ = self.out.flush();
    }
}
