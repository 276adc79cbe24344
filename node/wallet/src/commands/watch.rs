//! Logs as they come.

use std::{io::Write, time::Duration};

use alloy::{
    primitives::U256,
    rpc::types::{Filter, Log},
};
use joule_protocol::SystemContract;
use joule_rpc::wire::address_of;

use super::Session;
use crate::{Report, WalletError};

/// Time between two questions; a filter lives for minutes.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

pub(super) async fn run(session: &Session, count: Option<u64>) -> Result<Report, WalletError> {
    let l2 = session.l2().await?;
    let contracts: Vec<_> = SystemContract::ALL.iter().map(|contract| address_of(contract.address())).collect();
    let filter: U256 = l2.ask("eth_newFilter", (Filter::new().address(contracts),)).await?;
    let mut seen = 0;
    let mut out = std::io::stdout();
    while count.is_none_or(|count| seen < count) {
        let logs: Vec<Log> = l2.ask("eth_getFilterChanges", (filter,)).await?;
        for log in logs {
            let line = serde_json::to_string(&log).unwrap_or_default();
            // Whoever stopped reading has seen enough.
            if writeln!(out, "{line}").is_err() {
                return Ok(Report::new().with("logs", seen));
            }
            seen += 1;
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    l2.ask::<_, bool>("eth_uninstallFilter", (filter,)).await?;
    Ok(Report::new().with("logs", seen))
}
