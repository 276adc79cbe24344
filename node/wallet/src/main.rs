//! `joule`: the wallet's command line.

use std::process::ExitCode;

use clap::Parser;
use joule_wallet::Arguments;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let is_json = arguments.is_json();
    match joule_wallet::run(arguments).await {
        Ok(report) => {
            println!("{}", report.text(is_json));
            ExitCode::SUCCESS
        }
        Err(error) => {
            if is_json {
                println!("{}", error.json());
            } else {
                eprintln!("error: {error}");
            }
            ExitCode::FAILURE
        }
    }
}
