//! The libraries that wallets are made of, against the server: the scripts in `compat`.
//!
//! Their packages go into a cache folder outside of the checkout (`JOULE_COMPAT_CACHE`, or `joule/rpc-compat` in the user's cache). Where Node, Python or a
//! package cannot be had, the test skips and says so.

use std::{
    fs,
    path::{Path, PathBuf},
};

use alloy::signers::local::PrivateKeySigner;
use joule_protocol::Address;
use tokio::process::Command;

use crate::support::{ONE, start};

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("compat")
}

fn cache(language: &str) -> Option<PathBuf> {
    let named = std::env::var_os("JOULE_COMPAT_CACHE").map(PathBuf::from);
    let users = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/joule/rpc-compat"));
    let folder = named.or_else(users)?.join(language);
    fs::create_dir_all(&folder).ok()?;
    Some(folder)
}

/// Runs a command to its end; an error is why it did not succeed.
async fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().await.map_err(|error| error.to_string())?;
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() { Ok(text) } else { Err(text) }
}

/// Whether what `list` asks for is installed already, by a copy of the list that is made after a whole installation.
fn is_installed(folder: &Path, list: &Path) -> bool {
    let installed = fs::read(folder.join("installed"));
    installed.is_ok_and(|installed| fs::read(list).is_ok_and(|wanted| wanted == installed))
}

fn mark_installed(folder: &Path, list: &Path) -> Result<(), String> {
    fs::copy(list, folder.join("installed")).map(drop).map_err(|error| error.to_string())
}

/// Node's packages in the cache.
async fn node_packages() -> Result<PathBuf, String> {
    run(Command::new("node").arg("--version")).await.map_err(|error| format!("Node is missing: {error}"))?;
    let folder = cache("node").ok_or("there is no folder for packages")?;
    let list = scripts().join("package.json");
    if !is_installed(&folder, &list) {
        fs::copy(&list, folder.join("package.json")).map_err(|error| error.to_string())?;
        let install = ["install", "--no-audit", "--no-fund", "--silent"];
        let installed = run(Command::new("npm").args(install).current_dir(&folder)).await;
        installed.map_err(|error| format!("npm cannot install viem and ethers: {error}"))?;
        mark_installed(&folder, &list)?;
    }
    Ok(folder)
}

/// A Python with web3.py in the cache.
async fn python() -> Result<PathBuf, String> {
    let folder = cache("python").ok_or("there is no folder for packages")?;
    let python = folder.join("environment/bin/python");
    let list = scripts().join("requirements.txt");
    if !is_installed(&folder, &list) {
        let made = run(Command::new("python3").args(["-m", "venv"]).arg(folder.join("environment"))).await;
        made.map_err(|error| format!("Python is missing: {error}"))?;
        let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"];
        let installed = run(Command::new(&python).args(install).arg(&list)).await;
        installed.map_err(|error| format!("pip cannot install web3.py: {error}"))?;
        mark_installed(&folder, &list)?;
    }
    Ok(python)
}

/// Runs a script against a server of its own, with a key that has money.
async fn check(mut command: Command) {
    let scene = start().await;
    let signer = PrivateKeySigner::random();
    scene.node.deposit(&Address(signer.address().into_array()), 100 * ONE);
    command
        .env("JOULE_RPC_URL", scene.url())
        .env("JOULE_RPC_WEBSOCKET_URL", scene.websocket_url())
        .env("JOULE_RPC_KEY", alloy::hex::encode_prefixed(signer.to_bytes()))
        .env("JOULE_RPC_CHAIN_ID", scene.people.chain_id.to_string())
        .kill_on_drop(true);
    let ended = tokio::time::timeout(std::time::Duration::from_secs(600), run(&mut command)).await;
    match ended.expect("the script ends") {
        Ok(text) => println!("{text}"),
        Err(text) => panic!("the script failed:\n{text}"),
    }
}

/// A script is found beside its packages, which Node looks for from where the script is.
async fn check_node(script: &str) {
    match node_packages().await {
        Err(reason) => println!("SKIPPED {script}: {reason}"),
        Ok(folder) => {
            let place = folder.join(script);
            fs::copy(scripts().join(script), &place).expect("the script is there");
            let mut command = Command::new("node");
            command.arg(place);
            check(command).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn viem_and_ethers_work_unchanged() {
    // One after the other, because they share the folder of packages.
    check_node("viem.mjs").await;
    check_node("ethers.mjs").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn web3_py_works_unchanged() {
    match python().await {
        Err(reason) => println!("SKIPPED web3_check.py: {reason}"),
        Ok(python) => {
            let mut command = Command::new(python);
            command.arg(scripts().join("web3_check.py"));
            check(command).await;
        }
    }
}
