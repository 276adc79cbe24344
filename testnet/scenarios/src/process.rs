//! The project's own programs, each in a process of its own.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::sync::watch;

/// How long a program has to end in order.
const END_WITHIN: Duration = Duration::from_secs(60);

/// The programs beside the one that runs: what was built together is run together.
#[derive(Clone, Debug)]
pub(crate) struct Programs(PathBuf);

impl Programs {
    /// Those in the folder of this program.
    ///
    /// # Errors
    /// One of them was not built.
    pub(crate) fn beside(program: &Path) -> anyhow::Result<Self> {
        let folder = program.parent().context("a program is in a folder")?.to_owned();
        for name in ["joule", "joule-dac", "joule-node", "joule-prover"] {
            let path = folder.join(name);
            ensure!(path.is_file(), "{} is not there: run `cargo build --bins` first", path.display());
        }
        Ok(Self(folder))
    }

    /// One of them. What the environment sets for people who use it by hand does not reach it.
    pub(crate) fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.0.join(name));
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("JOULE_") {
                command.env_remove(variable);
            }
        }
        command
    }

    /// Runs one to its end, and returns what it printed.
    ///
    /// # Errors
    /// It does not start, or says that it failed.
    pub(crate) async fn run(&self, name: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = self.command(name);
        command.args(arguments).stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output()).await?.with_context(|| name.to_owned())?;
        let (said, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "{name} {}: {}\n{said}{complaint}", arguments.join(" "), output.status);
        Ok(said.into_owned())
    }
}

/// A program that runs until it is told to end. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    /// There until it has ended.
    child: Option<Child>,
    lines: watch::Receiver<Vec<String>>,
    log: PathBuf,
}

impl Process {
    /// Starts a program, with its log behind what an earlier one of that name left.
    pub(crate) fn start(name: &str, mut command: Command, log: &Path) -> anyhow::Result<Self> {
        let errors = fs::OpenOptions::new().create(true).append(true).open(log)?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        let out = child.stdout.take().context("its output")?;
        let (sender, lines) = watch::channel(Vec::new());
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                sender.send_modify(|lines| lines.push(line));
            }
        });
        Ok(Self { name: name.to_owned(), child: Some(child), lines, log: log.to_owned() })
    }

    /// Waits until it prints a line that begins so, and returns the rest of it.
    pub(crate) async fn prints(&mut self, beginning: &str, within: Duration) -> anyhow::Result<String> {
        let found =
            |lines: &Vec<String>| lines.iter().find_map(|line| Some(line.strip_prefix(beginning)?.trim().to_owned()));
        let heard = self.lines.wait_for(|lines| found(lines).is_some());
        let heard = tokio::time::timeout(within, heard).await.map(|heard| heard.ok().and_then(|lines| found(&lines)));
        match heard {
            Ok(Some(rest)) => Ok(rest),
            Ok(None) => bail!("{} ended before it printed {beginning:?}:\n{}", self.name, self.complaint()),
            Err(_) => bail!("{} did not print {beginning:?} within {within:?}:\n{}", self.name, self.complaint()),
        }
    }

    /// The end of its log.
    fn complaint(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// That it runs.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        let ended = self.child.as_mut().map(Child::try_wait).transpose()?.flatten();
        match ended {
            Some(status) => bail!("{} has ended ({status}):\n{}", self.name, self.complaint()),
            None => Ok(()),
        }
    }

    /// SIGKILL: it has no say in it.
    pub(crate) fn kill(mut self) -> anyhow::Result<()> {
        self.end().map(drop)
    }

    fn end(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        let Some(mut child) = self.child.take() else { return Ok(None) };
        child.kill()?;
        Ok(Some(child.wait()?))
    }

    /// SIGTERM, and waits until it has ended in order.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.check()?;
        let Some(child) = self.child.as_mut() else { return Ok(()) };
        kill(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGTERM)?;
        let ends = async {
            loop {
                if let Some(status) = child.try_wait()? {
                    return anyhow::Ok(status);
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let ended = tokio::time::timeout(END_WITHIN, ends).await;
        let status = ended.with_context(|| format!("{} does not end when it is asked to", self.name))??;
        self.child = None;
        ensure!(status.success(), "{} did not end in order ({status}):\n{}", self.name, self.complaint());
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A scenario that failed leaves nothing running; the process may have ended by itself.
        let _ = self.end();
    }
}
