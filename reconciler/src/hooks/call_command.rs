//! A hook that is a program: the request on its standard input, its answer on its standard output, no shell, few
//! variables, and at its end nothing of it that still runs.

use std::process::Stdio;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::answer::clean;
use super::call::{Failure, MOST};

/// The variables that a program gets, where they are set. None of them says anything of Terraform or its providers.
const VARIABLES: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "SYSTEMROOT",
];
/// The exit status (`EX_TEMPFAIL` of sysexits.h) by which a program asks to be called again.
const TRY_AGAIN: i32 = 75;
/// How much of what it says to standard error is shown.
const SAID: usize = 2000;

/// Runs programs.
#[derive(Debug, Default)]
pub(super) struct Commands;

impl Commands {
    pub(super) async fn run(&self, command: &[String], body: Vec<u8>) -> Result<Vec<u8>, Failure> {
        let (program, arguments) = command
            .split_first()
            .ok_or_else(|| Failure::Lasting("it names no program".to_owned()))?;
        let mut prepared = Command::new(program);
        prepared
            .args(arguments)
            .env_clear()
            .envs(
                VARIABLES
                    .iter()
                    .filter_map(|name| Some((name, std::env::var_os(name)?))),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        #[cfg(unix)]
        prepared.process_group(0);
        let child = prepared
            .spawn()
            .map_err(|error| Failure::Lasting(format!("{program:?} could not be started: {error}")))?;
        let (status, answer, said) = converse(child, body)
            .await
            .map_err(|error| Failure::Lasting(format!("{program:?}: {error}")))?;
        if status.success() {
            return Ok(answer);
        }
        let said = clean(&String::from_utf8_lossy(&said));
        let why = format!("{program:?} ended with {status} ({said})");
        Err(match status.code() {
            Some(TRY_AGAIN) => Failure::Passing(why),
            _ => Failure::Lasting(why),
        })
    }
}

type Ended = (std::process::ExitStatus, Vec<u8>, Vec<u8>);

async fn converse(mut child: Child, body: Vec<u8>) -> std::io::Result<Ended> {
    let missing = || std::io::Error::other("its pipes were not opened");
    let mut stdin = child.stdin.take().ok_or_else(missing)?;
    let stdout = child.stdout.take().ok_or_else(missing)?;
    let stderr = child.stderr.take().ok_or_else(missing)?;
    let group = Group::of(&child);
    let write = async {
        // A program that does not read has its reasons; its answer counts.
        let _ = stdin.write_all(&body).await;
        drop(stdin);
    };
    let ((), answer, said, ended) = tokio::join!(
        write,
        bounded(stdout, MOST + 1),
        bounded(stderr, SAID),
        group.end()
    );
    let (answer, said) = (answer?, said?);
    ended?;
    let status = child.wait().await?;
    if answer.len() > MOST {
        return Err(std::io::Error::other(format!(
            "its answer has more than {MOST} bytes"
        )));
    }
    Ok((status, answer, said))
}

/// Reads to the end and keeps the beginning, so that the writer is never stopped by a full pipe.
async fn bounded(mut from: impl AsyncRead + Unpin, most: usize) -> std::io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    let mut chunk = vec![0; 8192];
    loop {
        match from.read(&mut chunk).await? {
            0 => return Ok(kept),
            read => kept.extend_from_slice(&chunk[..read.min(most.saturating_sub(kept.len()))]),
        }
    }
}

/// The processes of a program; those that still run are killed when this is dropped.
struct Group {
    #[cfg(unix)]
    leader: Option<rustix::process::Pid>,
}

impl Group {
    #[cfg(unix)]
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self {
            leader: id.and_then(rustix::process::Pid::from_raw),
        }
    }

    #[cfg(not(unix))]
    fn of(_child: &Child) -> Self {
        Self {}
    }

    /// Waits until the program has ended, and ends what it has left behind. Its status is not collected before, so that
    /// its number is still its own.
    #[cfg(unix)]
    async fn end(self) -> std::io::Result<()> {
        use rustix::process::{WaitId, WaitIdOptions, waitid};
        if let Some(leader) = self.leader {
            let watch = move || loop {
                match waitid(WaitId::Pid(leader), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
                    Err(rustix::io::Errno::INTR) => {}
                    ended => return ended.map(drop),
                }
            };
            tokio::task::spawn_blocking(watch)
                .await
                .map_err(std::io::Error::other)??;
        }
        drop(self);
        Ok(())
    }

    #[cfg(not(unix))]
    async fn end(self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(unix)]
impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.leader {
            // Gone already is what is wanted.
            let _ = rustix::process::kill_process_group(leader, rustix::process::Signal::KILL);
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::time::Duration;

    use super::*;

    fn shell(script: &str) -> Vec<String> {
        ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
    }

    async fn assert_ends(process: &str) {
        let gone = async {
            // Killed and not yet collected by its new parent is gone too.
            let stat = format!("/proc/{process}/stat");
            while std::fs::read_to_string(&stat).is_ok_and(|text| !text.contains(") Z ")) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), gone).await.unwrap();
    }

    #[tokio::test]
    async fn a_program_gets_the_request_and_gives_the_answer() {
        let answer = Commands.run(&shell("cat"), b"{}".to_vec()).await;
        assert_eq!(answer, Ok(b"{}".to_vec()));
    }

    #[tokio::test]
    async fn a_program_sees_few_variables() {
        let seen = Commands.run(&shell("env"), Vec::new()).await.unwrap();
        let seen = String::from_utf8(seen).unwrap();
        // What the shell itself sets.
        let own = ["PWD", "SHLVL", "_", "OLDPWD"];
        for line in seen.lines() {
            let name = line.split('=').next().unwrap();
            assert!(VARIABLES.contains(&name) || own.contains(&name), "{line}");
        }
    }

    #[tokio::test]
    async fn a_program_that_fails_is_told_with_what_it_said_and_75_asks_for_another_call() {
        let failed = Commands.run(&shell("echo no room >&2; exit 3"), Vec::new()).await;
        let Err(Failure::Lasting(why)) = failed else {
            panic!("{failed:?}")
        };
        assert!(why.contains("no room") && why.contains('3'), "{why}");
        let busy = Commands.run(&shell("exit 75"), Vec::new()).await;
        assert!(matches!(busy, Err(Failure::Passing(_))), "{busy:?}");
        let missing = Commands.run(&["/no/such/program".to_owned()], Vec::new()).await;
        assert!(matches!(missing, Err(Failure::Lasting(_))), "{missing:?}");
    }

    #[tokio::test]
    async fn a_program_that_is_given_up_dies_with_its_children() {
        let directory = tempfile::tempdir().unwrap();
        let pid = directory.path().join("pid");
        let script = format!(
            "sleep 300 & echo $! > {0}.new; mv {0}.new {0}; wait",
            pid.display()
        );
        let command = shell(&script);
        let running = Commands.run(&command, Vec::new());
        let child = async {
            loop {
                if let Ok(text) = tokio::fs::read_to_string(&pid).await {
                    return text.trim().to_owned();
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let child = tokio::select! {
            ended = running => panic!("{ended:?}"),
            child = child => child,
        };
        assert_ends(&child).await;
    }

    #[tokio::test]
    async fn what_a_program_leaves_behind_ends_with_it() {
        // The child holds the program's output open: without its end there would be no answer.
        let command = shell("sleep 300 & echo $!");
        let answer = Commands.run(&command, Vec::new());
        let answer = tokio::time::timeout(Duration::from_secs(20), answer)
            .await
            .unwrap();
        let child = String::from_utf8(answer.unwrap()).unwrap();
        assert_ends(child.trim()).await;
    }

    #[tokio::test]
    async fn an_answer_without_end_is_cut_off() {
        let long = Commands.run(&shell("head -c 200000 /dev/zero"), Vec::new()).await;
        let Err(Failure::Lasting(why)) = long else {
            panic!("{long:?}")
        };
        assert!(why.contains("more than"), "{why}");
    }
}
