//! The program as a user meets it: exit codes, ready line, health, shutdown, demo.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_interlink-edge"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("INTERLINK_") {
            command.env_remove(name);
        }
    }
    command
}

fn output(arguments: &[&str]) -> Output {
    program()
        .args(arguments)
        .output()
        .expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A node on free ports; killed when dropped.
struct Node {
    child: Child,
    ready: Vec<String>,
    output: BufReader<std::process::ChildStdout>,
}

impl Node {
    fn start(data: &Path) -> Self {
        let mut child = program()
            .args([
                "--listen",
                "127.0.0.1:0",
                "--control",
                "127.0.0.1:0",
                "--api",
                "127.0.0.1:0",
                "--shards",
                "1",
            ])
            .arg("--data")
            .arg(data)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        let mut ready = Vec::new();
        while ready.len() < 5 {
            let mut line = String::new();
            let read = output.read_line(&mut line).expect("readable");
            assert!(read > 0, "the node ended before it was ready: {ready:?}");
            ready.push(line);
        }
        Self {
            child,
            ready,
            output,
        }
    }

    fn address(&self, line: usize, scheme: &str) -> String {
        let at = self.ready[line].find(scheme).expect("an address") + scheme.len();
        let rest = self.ready[line][at..].trim();
        rest.split('/').next().expect("host and port").to_owned()
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.address(2, "http://")).expect("connected");
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        answer
    }

    fn terminate(mut self) -> (Option<i32>, String) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status();
        assert!(sent.expect("kill runs").success());
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).expect("readable");
        (self.child.wait().expect("ended").code(), rest)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_wrong_configuration_ends_with_its_own_code_and_the_cure() {
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("edge.toml");
    std::fs::write(&file, "[limits]\nmax_sesions = 5\n").expect("written");
    let file = file.display().to_string();
    let output = output(&["config", "check", "--config", &file]);
    assert_eq!(output.status.code(), Some(3));
    let errors = text(&output.stderr);
    assert!(errors.contains("edge.toml:2:1"), "{errors}");
    assert!(errors.contains("did you mean max_sessions?"), "{errors}");
    assert!(output.stdout.is_empty());
}

#[test]
fn the_environment_reaches_the_effective_configuration() {
    let output = program()
        .args(["config", "print", "--shards", "3"])
        .env("INTERLINK__LIMITS__MAX_SESSIONS", "1234")
        .output()
        .expect("the program runs");
    let printed = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(printed.contains("max_sessions = 1234"), "{printed}");
    assert!(
        printed.contains("environment INTERLINK__LIMITS__MAX_SESSIONS"),
        "{printed}"
    );
    assert!(printed.contains("argument --shards"), "{printed}");
    assert!(printed.contains("# Memory plan: at most"), "{printed}");
}

#[test]
fn the_printed_reference_is_a_right_configuration() {
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("reference.toml");
    std::fs::write(&file, output(&["config", "reference"]).stdout).expect("written");
    let file = file.display().to_string();
    let output = output(&["config", "check", "--config", &file]);
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn plaintext_beyond_loopback_is_refused() {
    let output = output(&["--listen", "0.0.0.0:0"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("terminated-upstream"));
}

#[test]
fn a_token_needs_a_key() {
    let directory = tempfile::tempdir().expect("directory");
    let data = directory.path().display().to_string();
    let output = output(&["token", "--user", "ada", "--data", &data]);
    assert_eq!(output.status.code(), Some(6));
    assert!(text(&output.stderr).contains("start a node once"));
}

#[test]
fn an_address_that_is_no_websocket_shows_the_right_form() {
    let output = program()
        .args([
            "tail",
            "chat.ada~bob",
            "--url",
            "http://127.0.0.1:1/",
            "--token",
            "x",
        ])
        .output()
        .expect("the program runs");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("ws://"));
}

#[test]
fn a_node_becomes_ready_keeps_others_out_and_stops_in_order() {
    let directory = tempfile::tempdir().expect("directory");
    let data = directory.path().join("data");
    let node = Node::start(&data);
    assert!(node.ready[0].ends_with("is ready\n"), "{:?}", node.ready);
    assert!(node.get("/readyz").starts_with("HTTP/1.1 200"));
    assert!(node.get("/livez").starts_with("HTTP/1.1 200"));
    let metrics = node.get("/metrics");
    for name in [
        "interlink_edge_turns_total",
        "interlink_edge_allocator_allocated_bytes",
    ] {
        assert!(metrics.contains(name), "{name} is missing");
    }

    let data_text = data.display().to_string();
    let second = output(&[
        "--listen",
        "127.0.0.1:0",
        "--control",
        "127.0.0.1:0",
        "--api",
        "127.0.0.1:0",
        "--data",
        &data_text,
    ]);
    assert_eq!(second.status.code(), Some(6), "{}", text(&second.stderr));
    assert!(text(&second.stderr).contains("is in use by process"));

    let token = output(&["token", "--user", "ada", "--data", &data_text]);
    assert!(token.status.success(), "{}", text(&token.stderr));
    assert_eq!(text(&token.stdout).trim().split('.').count(), 3);

    let (code, rest) = node.terminate();
    assert_eq!(code, Some(0));
    assert!(rest.contains("This is the first start"), "{rest}");

    let (code, rest) = Node::start(&data).terminate();
    assert_eq!(code, Some(0));
    assert!(!rest.contains("first start"), "{rest}");
}

#[test]
fn published_lines_are_in_the_journal() {
    let directory = tempfile::tempdir().expect("directory");
    let data = directory.path().join("data").display().to_string();
    let node = Node::start(Path::new(&data));
    let url = format!("ws://{}/v1/connect", node.address(1, "ws://"));
    let mut publish = program()
        .args(["publish", "class.m1", "--url", &url, "--data", &data])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("publish starts");
    let mut input = publish.stdin.take().expect("piped");
    input.write_all(b"first\nsecond\n").expect("written");
    drop(input);
    let published = publish.wait_with_output().expect("publish ends");
    assert!(published.status.success(), "{}", text(&published.stderr));
    assert!(text(&published.stderr).contains("acknowledged at level Local"));

    let (code, _) = node.terminate();
    assert_eq!(code, Some(0));
    let dumped = output(&["journal", "dump", &format!("{data}/journal")]);
    assert!(dumped.status.success(), "{}", text(&dumped.stderr));
    let lines = text(&dumped.stdout);
    let texts: Vec<String> = lines
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"))
        .filter(|entry| entry["kind"] == "record" && entry["channel"] == "class.m1")
        .map(|entry| entry["text"].as_str().expect("text").to_owned())
        .collect();
    assert_eq!(texts, ["first", "second"], "{lines}");
}

#[test]
fn the_demo_loses_nothing() {
    let output = output(&["demo", "--pause", "1ms"]);
    let shown = text(&output.stdout);
    assert!(output.status.success(), "{shown}\n{}", text(&output.stderr));
    assert!(shown.contains("Nothing was lost."), "{shown}");
    assert!(
        shown.contains("got the 3 messages that he missed"),
        "{shown}"
    );
}
