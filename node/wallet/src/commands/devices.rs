//! Devices.

use joule_protocol::Call;
use joule_rpc::wire::{Device, protocol_address};

use super::Session;
use crate::{Report, WalletError, arguments::DeviceCommand, keys::KeySource, statements::sign_consent};

pub(super) async fn run(session: &Session, command: DeviceCommand) -> Result<Report, WalletError> {
    match command {
        DeviceCommand::Register { device_key, payout, class, stake } => {
            let owner = session.signer()?;
            let device = KeySource::File(device_key).load()?;
            let l2 = session.l2().await?;
            let call = Call::RegisterDevice {
                device: protocol_address(device.address()),
                payout: protocol_address(payout.unwrap_or(owner.address())),
                class,
                consent: Some(sign_consent(&device, l2.genesis(), owner.address())),
            };
            Ok(session.call(stake.0, &call).await?.with("device", device.address()))
        }
        DeviceCommand::Stake { device, amount } => {
            session.call(amount.0, &Call::AddStake { device: protocol_address(device) }).await
        }
        DeviceCommand::Retire { device } => {
            session.call(0, &Call::RetireDevice { device: protocol_address(device) }).await
        }
        DeviceCommand::WithdrawStake { device } => {
            session.call(0, &Call::WithdrawStake { device: protocol_address(device) }).await
        }
        DeviceCommand::Show { device } => {
            let found: Option<Device> = session.l2().await?.ask("joule_getDevice", (device,)).await?;
            let not_found = || WalletError::NotFound(format!("no device {device} is registered"));
            found.map(Report::whole).ok_or_else(not_found)
        }
    }
}
