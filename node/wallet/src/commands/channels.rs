//! Channels.

use alloy::primitives::{Address, U64};
use joule_protocol::Call;
use joule_rpc::wire::{Channel, ChannelStatus, protocol_address};

use super::{Session, now, read_json};
use crate::{
    Report, SignedClose, SignedVoucher, WalletError,
    arguments::ChannelCommand,
    l2::L2,
    statements::{sign_close, sign_voucher, signature},
};

pub(super) async fn run(session: &Session, command: ChannelCommand) -> Result<Report, WalletError> {
    match command {
        ChannelCommand::Open { payee, deposit } => {
            session.call(deposit.0, &Call::OpenChannel { payee: protocol_address(payee) }).await
        }
        ChannelCommand::TopUp { nonce, amount } => {
            session.call(amount.0, &Call::TopUpChannel { client_nonce: nonce }).await
        }
        ChannelCommand::Voucher { nonce, total } => {
            let signer = session.signer()?;
            let l2 = session.l2().await?;
            // The payee is the channel's, so that no voucher is signed that cannot be redeemed.
            let channel = find(&l2, signer.address(), nonce).await?;
            Ok(Report::whole(sign_voucher(&signer, l2.genesis(), nonce, channel.payee, total.0)))
        }
        ChannelCommand::Redeem { voucher } => {
            let signed: SignedVoucher = read_json(&voucher, "signed voucher")?;
            let signature = Some(signature(&signed.signature)?);
            session.call(0, &Call::RedeemVoucher { voucher: signed.voucher(), signature }).await
        }
        ChannelCommand::Close { nonce } => {
            // A transaction that closes is rejected: a close without the payee is a forced call, with --forced and without. L1 takes its fee whatever
            // comes of it, so the node is asked first, unless nobody is to be depended on.
            if !session.connection.forced {
                let channel = find(&session.l2().await?, session.signer()?.address(), nonce).await?;
                if channel.status != ChannelStatus::Open {
                    return Err(WalletError::NotOpen { nonce });
                }
            }
            session.force(0, &Call::CloseChannel { client_nonce: nonce }).await
        }
        ChannelCommand::Agree { client, nonce, deadline_in } => {
            let signer = session.signer()?;
            let l2 = session.l2().await?;
            let channel = find(&l2, client, nonce).await?;
            if channel.payee != signer.address() {
                return Err(WalletError::WrongSigner { expected: channel.payee, got: signer.address() });
            }
            let deadline = now()?.saturating_add(deadline_in);
            Ok(Report::whole(sign_close(&signer, l2.genesis(), client, nonce, channel.paid, deadline)))
        }
        ChannelCommand::CloseTogether { consent } => {
            let consent: SignedClose = read_json(&consent, "payee's consent")?;
            let call = Call::CloseChannelTogether {
                client_nonce: consent.client_nonce,
                deadline: consent.deadline,
                payee_signature: Some(signature(&consent.signature)?),
            };
            session.call(0, &call).await
        }
        ChannelCommand::Finalise { client, nonce } => {
            session.call(0, &Call::FinaliseChannel { client: protocol_address(client), client_nonce: nonce }).await
        }
        ChannelCommand::Show { client, nonce } => find(&session.l2().await?, client, nonce).await.map(Report::whole),
    }
}

async fn find(l2: &L2, client: Address, nonce: u64) -> Result<Channel, WalletError> {
    let channel: Option<Channel> = l2.ask("joule_getChannel", (client, U64::from(nonce))).await?;
    channel.ok_or_else(|| WalletError::NotFound(format!("{client} has opened no channel with nonce {nonce}")))
}
