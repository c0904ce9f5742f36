//! Passes on how a request has ended, to those who do not count it.

use crate::domain::evidence::OutcomeClass;
use crate::proxy::observe::Observation;
use crate::runtime::clock;
use crate::telemetry::access_log::End;

impl Observation {
    /// Completes what the access log is to tell, and leaves it to be written.
    pub(super) fn file(&mut self, class: OutcomeClass) {
        self.tell_of_caller(class);
        let Some(mut record) = self.entry.take() else {
            return;
        };
        let class = self.first_attempt.unwrap_or(class);
        record.way.route = self.route;
        record.way.flag = self.flag;
        let upload = self.upload.as_ref();
        record.end = End {
            at: clock::wall(),
            status: self.code(),
            class,
            duration: clock::monotonic() - self.started,
            head_latency: self.head_latency,
            bytes_in: record.end.bytes_in + upload.map_or(0, |upload| upload.bytes.get()),
            bytes_out: record.end.bytes_out,
        };
        self.worker.clerk.file(record);
    }

    /// Says how the endpoint did that has answered, once; a status that is a failure was known by the head.
    pub(super) fn tell_endpoint(&mut self, class: OutcomeClass) {
        if let Some(answered) = self.in_flight.take()
            && !self.class_by_status().is_failure()
        {
            answered.pool().note_outcome(class);
        }
    }
}
