//! What a server has answered since it was started, and what it says of that and of itself at `/metrics`.

use jiff::Timestamp;

/// That no alpha feature is on. Of deprecated API versions it says nothing, since it has none.
const GATES: &str = "# TYPE kubernetes_feature_enabled gauge\n\
    kubernetes_feature_enabled{name=\"AllAlpha\",stage=\"ALPHA\"} 0\n\
    kubernetes_feature_enabled{name=\"AllBeta\",stage=\"BETA\"} 0\n";

/// What a server has answered since it was started.
#[derive(Debug)]
pub(crate) struct Answered {
    started: Timestamp,
    well: u64,
    failed: u64,
    /// Requests to Services that nobody answered well.
    passed_on_failed: u64,
}

impl Answered {
    pub(crate) fn since(started: Timestamp) -> Self {
        Self {
            started,
            well: 0,
            failed: 0,
            passed_on_failed: 0,
        }
    }

    /// So many more were answered well, and with an error of the server's own.
    pub(crate) fn count(&mut self, well: u64, failed: u64) {
        self.well += well;
        self.failed += failed;
    }

    pub(crate) fn count_passed_on(&mut self, code: u16) {
        self.passed_on_failed += u64::from(code >= 500);
    }

    /// Prometheus' text.
    pub(crate) fn text(&self) -> String {
        let line = |code: u16, subresource: &str, count: u64| {
            format!(
                "apiserver_request_total{{code=\"{code}\",component=\"apiserver\",dry_run=\"\",group=\"\",resource=\"services\",\
                 scope=\"resource\",subresource=\"{subresource}\",verb=\"GET\",version=\"v1\"}} {count}\n"
            )
        };
        [
            GATES,
            "# TYPE apiserver_request_total counter\n",
            &line(200, "", self.well),
            &line(500, "", self.failed),
            &line(503, "proxy", self.passed_on_failed),
            "# TYPE process_start_time_seconds gauge\n",
            &format!("process_start_time_seconds {}\n", self.started.as_second()),
        ]
        .concat()
    }
}
