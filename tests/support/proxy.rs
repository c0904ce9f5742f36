//! The real program as a process, with its log and its admin API.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

use serde_json::Value;
use serin::runtime::clock;
use tempfile::TempDir;

use super::disk::fast_folder;
use super::{Answer, Connection, LOOK, Metrics, Request, SOON, TestBackend, wait_for};

/// The program under test.
pub(crate) const SERIN: &str = env!("CARGO_BIN_EXE_serin");

/// How long a drain may take: the program's own deadline is half a minute.
const STOP_MAX: Duration = Duration::from_secs(40);

/// `serin serve` with a configuration of its own.
pub(crate) struct TestProxy {
    address: SocketAddr,
    admin: SocketAddr,
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    reading: Option<JoinHandle<()>>,
    folder: PathBuf,
    /// Goes with the proxy, where it is the proxy's own.
    _own_folder: Option<TempDir>,
}

/// What is left of a process that ended before it was ready.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) log: String,
}

impl TestProxy {
    /// Starts with a configuration that lacks listeners and the admin address; those are added,
    /// on free ports, and so is a state folder of its own.
    pub(crate) fn start(config: &str) -> Self {
        Self::with_files(config, &[])
    }

    /// The same with other files beside the configuration, by name and content.
    pub(crate) fn with_files(config: &str, files: &[(&str, &str)]) -> Self {
        Self::with_admin("", config, files)
    }

    /// The same with more keys of `admin`, such as `tokens: […]`.
    pub(crate) fn with_admin(admin: &str, config: &str, files: &[(&str, &str)]) -> Self {
        Self::in_own_folder(TempDir::new().unwrap(), admin, config, files)
    }

    /// The same for tests of what has to be written before it is done: where the state is kept, nobody waits
    /// for a disk.
    pub(crate) fn on_fast_disk(admin: &str, config: &str) -> Self {
        Self::in_own_folder(fast_folder(), admin, config, &[])
    }

    fn in_own_folder(folder: TempDir, admin: &str, config: &str, files: &[(&str, &str)]) -> Self {
        for (name, content) in files {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        let text = format!(
            "listeners: [{{ address: \"127.0.0.1:0\" }}]\n\
             admin: {{ address: \"127.0.0.1:0\", {admin} }}\n\
             state: {{ path: state }}\n{config}"
        );
        std::fs::write(folder.path().join("serin.yaml"), text).unwrap();
        let mut proxy = Self::in_folder(folder.path(), Command::new(SERIN));
        proxy._own_folder = Some(folder);
        proxy
    }

    /// Starts in a folder that outlives it, by the `serin.yaml` there; `program` is [`SERIN`], or
    /// something that runs it.
    #[track_caller]
    pub(crate) fn in_folder(folder: &Path, program: Command) -> Self {
        let started = Self::try_in_folder(folder, program);
        started.unwrap_or_else(|ended| panic!("it does not start: {ended:?}"))
    }

    /// The same where the process may end before it is ready.
    pub(crate) fn try_in_folder(folder: &Path, mut program: Command) -> Result<Self, Ended> {
        put_client(&folder.join("serin.yaml"));
        let mut child = program
            .args(["serve", "--config"])
            .arg(folder.join("serin.yaml"))
            .env_remove("SERIN_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (lines, stderr) = (Arc::clone(&log), child.stderr.take().unwrap());
        let reading = spawn(move || {
            let read = BufReader::new(stderr).lines().map_while(Result::ok);
            read.for_each(|line| lines.lock().unwrap().push(line));
        });
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut proxy = Self {
            address: nowhere,
            admin: nowhere,
            child,
            log,
            reading: Some(reading),
            folder: folder.to_owned(),
            _own_folder: None,
        };
        proxy.admin = proxy.logged_address("admin API address=")?;
        proxy.address = proxy.logged_address("listening address=")?;
        Ok(proxy)
    }

    fn logged_address(&mut self, before: &str) -> Result<SocketAddr, Ended> {
        wait_for(&format!("`{before}` in the log"), SOON, || {
            // Asked before the log is read, so that what an ended process said last is seen.
            let ended = self.child.try_wait().unwrap();
            if ended.is_some() {
                let status = self.wait();
                let log = self.log();
                return Some(Err(Ended { status, log }));
            }
            let log = self.log.lock().unwrap();
            let found = log.iter().find_map(|line| line.split_once(before));
            found.map(|(_, address)| Ok(address.parse().unwrap()))
        })
    }

    /// The number of the process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it says that it is ready.
    pub(crate) fn wait_until_ready(&self) {
        wait_for("ready", SOON, || {
            let answer = Request::get("/readyz").host(&self.admin.to_string());
            answer
                .try_send_to(self.admin)
                .ok()
                .filter(|answer| answer.status == 200)
        });
    }

    /// Where requests go.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the admin API is.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin
    }

    pub(crate) fn config_path(&self) -> PathBuf {
        self.folder.join("serin.yaml")
    }

    /// Puts another configuration in the place of the one that was read, as a whole.
    pub(crate) fn write_config(&self, text: &str) {
        replace_file(&self.config_path(), text);
    }

    /// Asks the process to read its configuration again.
    pub(crate) fn reload(&self) {
        signal(self.process(), "HUP");
    }

    /// Ends the process without asking it.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        self.wait();
    }

    /// A new connection.
    pub(crate) fn connect(&self) -> Connection {
        Connection::open(self.address)
    }

    /// Sends a request on a connection of its own.
    pub(crate) fn ask(&self, request: &Request) -> Answer {
        request.send_to(self.address)
    }

    /// Asks for a path.
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask(&Request::get(path))
    }

    /// Sends a request to the admin API.
    pub(crate) fn command(&self, method: &str, path: &str, body: &str) -> Answer {
        let host = self.admin.to_string();
        let request = Request::new(method, path).host(&host).body(body);
        request.send_to(self.admin)
    }

    /// Where the rollout of a flag is.
    pub(crate) fn rollout(&self, flag: &str) -> Value {
        let path = format!("/api/v1/rollouts/{flag}");
        let answer = self.command("GET", &path, "");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// Waits until the rollout of a flag is in a phase.
    pub(crate) fn wait_for_phase(&self, flag: &str, phase: &str, limit: Duration) -> Value {
        let mut last = Value::Null;
        let what = format!("`{flag}` is {phase}");
        wait_for(&what, limit, || {
            last = self.rollout(flag);
            (last["phase"] == phase).then(|| last.clone())
        })
    }

    pub(crate) fn metrics(&self) -> Metrics {
        let answer = self.command("GET", "/metrics", "");
        assert_eq!(answer.status, 200);
        Metrics::read(answer.text())
    }

    /// Waits until the sum of some series of counters is a number, and fails as soon as it is more.
    #[track_caller]
    pub(crate) fn wait_for_count(&self, name: &str, labels: &[(&str, &str)], count: u64) {
        let begun = clock::monotonic();
        loop {
            let seen = self.metrics().count(name, labels);
            if seen == count {
                return;
            }
            let may_wait = seen < count && begun.elapsed() < SOON;
            assert!(may_wait, "{name} {labels:?} is {seen}, not {count}");
            sleep(LOOK);
        }
    }

    /// All that was logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// Waits for a line of the log that has a text in it.
    pub(crate) fn wait_for_log(&self, text: &str, limit: Duration) -> String {
        let look = || {
            let log = self.log.lock().unwrap();
            log.iter().find(|line| line.contains(text)).cloned()
        };
        wait_for(&format!("`{text}` in the log"), limit, look)
    }

    /// Memory that the process holds, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most that it has held since that was forgotten the last time.
    pub(crate) fn memory_peak(&self) -> u64 {
        self.memory("VmHWM:")
    }

    /// Forgets how much memory the process has held.
    pub(crate) fn forget_memory_peak(&self) {
        // What the number stands for is told in proc(5).
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").unwrap();
    }

    fn memory(&self, field: &str) -> u64 {
        let status = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(Path::new(&status)).unwrap();
        let line = status.lines().find(|line| line.starts_with(field));
        let kilobytes = line.unwrap().split_whitespace().nth(1).unwrap();
        kilobytes.parse::<u64>().unwrap() * 1024
    }

    /// Asks the process to stop, as a service manager does.
    pub(crate) fn terminate(&self) {
        assert!(signal(self.process(), "TERM"), "it has ended");
    }

    /// Waits for the process to end by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let child = &mut self.child;
        let status = wait_for("the process ends", STOP_MAX, || child.try_wait().unwrap());
        if let Some(reading) = self.reading.take() {
            reading.join().unwrap();
        }
        status
    }

    /// Asks the process to stop and waits until it has.
    pub(crate) fn stop(mut self) -> ExitStatus {
        self.terminate();
        self.wait()
    }
}

impl Drop for TestProxy {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the proxy's log:\n{}", self.log());
        }
    }
}

/// Which client of HTTP/1.1 all backends of a configuration are to have; none as it is written there. All tests
/// can so be run with one that is not the default: `SERIN_TEST_HTTP1_CLIENT=hyper cargo test`.
const CLIENT_VARIABLE: &str = "SERIN_TEST_HTTP1_CLIENT";

/// Writes that client into a configuration, if it is one.
fn put_client(path: &Path) {
    let Ok(client) = std::env::var(CLIENT_VARIABLE) else {
        return;
    };
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let Ok(mut document) = serde_yaml::from_str::<serde_yaml::Value>(&text) else {
        return;
    };
    let backends = document
        .get_mut("backends")
        .and_then(|it| it.as_mapping_mut());
    let Some(backends) = backends else {
        return;
    };
    for (_, backend) in backends {
        if backend.is_string() {
            let url = std::mem::take(backend);
            *backend = serde_yaml::from_str("endpoints: []").unwrap();
            backend["endpoints"] = serde_yaml::Value::Sequence(vec![url]);
        }
        if let Some(keys) = backend.as_mapping_mut() {
            keys.entry("http1_client".into())
                .or_insert_with(|| client.as_str().into());
        }
    }
    std::fs::write(path, serde_yaml::to_string(&document).unwrap()).unwrap();
}

/// Sends a signal to a process; `false` when there is none.
pub(crate) fn signal(process: u32, name: &str) -> bool {
    let kill = format!("kill -{name} {process}");
    let mut shell = Command::new("sh");
    let status = shell.args(["-c", &kill]).stderr(Stdio::null()).status();
    status.unwrap().success()
}

/// Puts a text in the place of a file in one step, so that nobody reads half of it.
pub(crate) fn replace_file(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, text).unwrap();
    put_client(&beside);
    std::fs::rename(beside, path).unwrap();
}

/// The short form of backends by name: `backends: { a: http://…, b: http://… }`.
pub(crate) fn backends(named: &[(&str, &TestBackend)]) -> String {
    let entry = |(name, backend): &(&str, &TestBackend)| format!("{name}: \"{}\"", backend.url());
    let entries: Vec<_> = named.iter().map(entry).collect();
    format!("backends: {{ {} }}\n", entries.join(", "))
}
