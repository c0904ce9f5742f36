//! A proxy before two backends, `v1` and `v2`, that can be ended and started again with its state.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use super::disk::fast_folder;
use super::proxy::{SERIN, TestProxy, backends, replace_file};
use super::{Answer, Request, SOON, TestBackend, wait_until};

/// A proxy, its backends, and the folder with its configuration and state.
pub(crate) struct Edge {
    pub(crate) proxy: TestProxy,
    stable: TestBackend,
    canary: TestBackend,
    folder: TempDir,
}

impl Edge {
    /// Starts with the rest of a configuration: all but listeners, `admin`, `state`, backends and, where it has
    /// none, `identity`, which is the header `x-user-id` then.
    pub(crate) fn start(rest: &str) -> Self {
        Self::prepare(rest, |_| ())
    }

    /// The same, where something is to be done before: it is given the state's folder.
    pub(crate) fn prepare(rest: &str, prepare: impl FnOnce(PathBuf)) -> Self {
        let [stable, canary] = ["v1", "v2"].map(TestBackend::start);
        let folder = fast_folder();
        let written = config(&stable, &canary, rest);
        std::fs::write(folder.path().join("serin.yaml"), written).unwrap();
        prepare(folder.path().join("state"));
        let proxy = TestProxy::in_folder(folder.path(), Command::new(SERIN));
        Self {
            proxy,
            stable,
            canary,
            folder,
        }
    }

    /// Ends the process as `kill -9` does, and starts it again with what it has written down.
    pub(crate) fn restart(&mut self) {
        self.proxy.kill();
        self.proxy = TestProxy::in_folder(self.folder.path(), Command::new(SERIN));
    }

    /// The same with another configuration.
    pub(crate) fn restart_with(&mut self, rest: &str) {
        self.proxy.kill();
        self.write(rest);
        self.proxy = TestProxy::in_folder(self.folder.path(), Command::new(SERIN));
    }

    /// The folder of its configuration and state.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Ends the process and takes its state away.
    pub(crate) fn forget(&mut self) {
        self.proxy.kill();
        std::fs::remove_dir_all(self.folder.path().join("state")).unwrap();
    }

    fn write(&self, rest: &str) {
        let text = config(&self.stable, &self.canary, rest);
        replace_file(&self.folder.path().join("serin.yaml"), &text);
    }

    /// Puts another configuration in place, and waits until it decides.
    pub(crate) fn bring(&self, rest: &str) {
        let before = self.reloads("taken");
        self.write(rest);
        wait_until("it is taken", SOON, || self.reloads("taken") > before);
    }

    /// Puts another configuration in place that is refused; gives what is said of it.
    pub(crate) fn bring_in_vain(&self, rest: &str) -> String {
        let before = self.reloads("refused");
        self.write(rest);
        wait_until("it is refused", SOON, || self.reloads("refused") > before);
        let status = self.admin("GET", "/api/v1/status", "").json();
        status["reload"]["problems"].to_string()
    }

    fn reloads(&self, result: &str) -> u64 {
        let metrics = self.proxy.metrics();
        metrics.count("serin_config_reloads_total", &[("result", result)])
    }

    /// Asks the admin API.
    pub(crate) fn admin(&self, method: &str, path: &str, body: &str) -> Answer {
        self.proxy.command(method, path, body)
    }

    /// Asks it with one more header.
    pub(crate) fn admin_with(
        &self,
        (method, path): (&str, &str),
        (name, value): (&str, &str),
        body: &str,
    ) -> Answer {
        let host = self.proxy.admin().to_string();
        let request = Request::new(method, path).host(&host).field(name, value);
        request.body(body).send_to(self.proxy.admin())
    }

    /// The lines of the journal about something, such as `flag=shop`; newest first.
    pub(crate) fn journal(&self, about: &str) -> Vec<Value> {
        let path = format!("/api/v1/journal?limit=1000&{about}");
        let answer = self.admin("GET", &path, "");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["lines"].as_array().unwrap().clone()
    }

    /// Who answers a caller.
    pub(crate) fn served(&self, caller: &str) -> String {
        let request = Request::get("/").field("x-user-id", caller);
        self.proxy.ask(&request).text().to_owned()
    }

    /// What the command line says; it must be done.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let output = self.cli(arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What comes of a command line.
    pub(crate) fn cli(&self, arguments: &[&str]) -> Output {
        let mut serin = Command::new(SERIN);
        let serin = serin.env("SERIN_ADMIN", format!("http://{}", self.proxy.admin()));
        serin.args(arguments).env("USER", "ann").output().unwrap()
    }
}

fn config(stable: &TestBackend, canary: &TestBackend, rest: &str) -> String {
    let backends = backends(&[("v1", stable), ("v2", canary)]);
    let identity = match rest.contains("identity:") {
        true => "",
        false => "identity: [{ header: x-user-id }]\n",
    };
    format!(
        "listeners: [{{ address: \"127.0.0.1:0\" }}]\nadmin: {{ address: \"127.0.0.1:0\" }}\n\
         state: {{ path: state }}\n{identity}\
         trusted_proxies: [127.0.0.1]\n{backends}{rest}"
    )
}
