//! Real S3 clients against the agent on the host.

use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Result, ensure};
use e2e::artefacts::workspace;
use e2e::host::{HostAgent, client};
use e2e::stick::USER;

/// Larger than the parts in which s5cmd and the AWS CLI send a file (50 and 8 MiB).
const LARGE: usize = 64 << 20;

fn run(program: &str, agent: &HostAgent, arguments: &[&str]) -> Result<Output> {
    let output = Command::new(client(program)?)
        .args(["--endpoint-url", agent.endpoint()])
        .args(arguments)
        .env("AWS_ACCESS_KEY_ID", USER.0)
        .env("AWS_SECRET_ACCESS_KEY", USER.1)
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .output()?;
    ensure!(
        output.status.success(),
        "{program} {arguments:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output)
}

/// Files of telling sizes in a folder.
fn files(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir.join("deep/er"))?;
    for (name, length) in
        [("empty", 0), ("one byte", 1), ("deep/page", 4096), ("deep/er/large", LARGE)]
    {
        let body: Vec<u8> = (0..=250).cycle().take(length).collect();
        std::fs::write(dir.join(name), body)?;
    }
    Ok(())
}

fn assert_same(left: &Path, right: &Path) -> Result<()> {
    let output = Command::new("diff").arg("-r").arg(left).arg(right).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    Ok(())
}

fn there_and_back(program: &str, steps: &[&[&str]]) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let agent = HostAgent::start(&dir.path().join("disks"), 3)?;
    let (out, back) = (dir.path().join("out"), dir.path().join("back"));
    files(&out)?;
    std::fs::create_dir(&back)?;
    let (out_text, back_text) = (format!("{}/", out.display()), format!("{}/", back.display()));
    for step in steps {
        let step: Vec<&str> = step
            .iter()
            .map(|word| match *word {
                "OUT" => out_text.as_str(),
                "BACK" => back_text.as_str(),
                word => word,
            })
            .collect();
        run(program, &agent, &step)?;
    }
    assert_same(&out, &back)
}

#[test]
fn s5cmd_copies_there_and_back() -> Result<()> {
    there_and_back(
        "s5cmd",
        &[
            &["mb", "s3://box"],
            &["cp", "OUT", "s3://box/tree/"],
            &["ls", "s3://box/tree/"],
            &["cp", "s3://box/tree/*", "BACK"],
            &["rm", "s3://box/*"],
            &["rb", "s3://box"],
        ],
    )
}

#[test]
fn the_aws_cli_syncs_there_and_back() -> Result<()> {
    there_and_back(
        "aws",
        &[
            &["s3", "mb", "s3://box"],
            &["s3", "sync", "OUT", "s3://box/tree"],
            &["s3", "cp", "s3://box/tree/deep/er/large", "s3://box/copy"],
            &["s3", "sync", "s3://box/tree", "BACK"],
            &["s3", "rb", "--force", "s3://box"],
        ],
    )
}

#[test]
fn boto3_finds_s3_as_it_should_be() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let agent = HostAgent::start(dir.path(), 2)?;
    let output = Command::new(client("python3")?)
        .arg(workspace().join("agent/s3/tests/clients/s3_conformance.py"))
        .env("S3_ENDPOINT", agent.endpoint())
        .env("S3_ACCESS_KEY", USER.0)
        .env("S3_SECRET_KEY", USER.1)
        .output()?;
    println!("{}", String::from_utf8_lossy(&output.stdout));
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[test]
fn a_taken_port_is_named() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?;
    let (listen, port) = (address.to_string(), format!("port {}", address.port()));
    let output = HostAgent::command(dir.path(), 1, &listen)?.output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "it served on a taken port");
    assert!(said.contains(&port), "the port is not named: {said}");
    Ok(())
}

#[test]
fn a_killed_agent_loses_nothing_acknowledged() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut acknowledged: Vec<(String, Vec<u8>)> = Vec::new();
    for round in 0..5 {
        let agent = HostAgent::start(dir.path(), 2)?;
        let s3 = agent.s3();
        let answer = s3.create_bucket("killed")?;
        assert!(matches!(answer.status, 200 | 409), "{answer:?}");
        for (key, body) in &acknowledged {
            let read = s3.get("killed", key)?.expect(200)?;
            assert!(read.body == *body, "{key} reads otherwise");
        }
        let (told, acknowledgements) = std::sync::mpsc::channel();
        let writer = std::thread::spawn(move || {
            let mut written = Vec::new();
            for number in 0_usize.. {
                let key = format!("{round}/{number}");
                let body: Vec<u8> = key.bytes().cycle().take(number * 3571 % 300_000).collect();
                match s3.put("killed", &key, &body) {
                    Ok(answer) if answer.status == 200 => {
                        written.push((key, body));
                        // Nobody counts any more at the end.
                        let _ = told.send(());
                    }
                    _ => break,
                }
            }
            written
        });
        // However slow the machine is, some are acknowledged; then at another instant each time.
        assert!(acknowledgements.iter().take(5).count() == 5, "the writer failed");
        std::thread::sleep(std::time::Duration::from_millis(130 * round));
        agent.kill();
        acknowledged.extend(writer.join().expect("the writer panicked"));
    }
    assert!(acknowledged.len() > 20, "only {} writes in five rounds", acknowledged.len());
    Ok(())
}
