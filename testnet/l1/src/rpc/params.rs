//! Positional parameters of a request.

use super::error::RpcError;
use alloy::primitives::U256;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The parameters of one request.
pub(super) struct Params(Vec<Value>);

impl Params {
    /// An array is taken as it is, an object as the only parameter (alloy sends `anvil_reorg` so).
    pub(super) fn new(params: Option<Value>) -> Result<Self, RpcError> {
        match params {
            None | Some(Value::Null) => Ok(Self(Vec::new())),
            Some(Value::Array(values)) => Ok(Self(values)),
            Some(object @ Value::Object(_)) => Ok(Self(vec![object])),
            Some(_) => Err(RpcError::invalid_params("params must be an array")),
        }
    }

    /// The parameter at `index`, which must be there.
    pub(super) fn required<T: DeserializeOwned>(&self, index: usize) -> Result<T, RpcError> {
        self.optional(index)?
            .ok_or_else(|| RpcError::invalid_params(format!("missing value for required argument {index}")))
    }

    /// The parameter at `index`; absent and `null` are the same.
    pub(super) fn optional<T: DeserializeOwned>(&self, index: usize) -> Result<Option<T>, RpcError> {
        match self.0.get(index) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => T::deserialize(value)
                .map(Some)
                .map_err(|error| RpcError::invalid_params(format!("invalid argument {index}: {error}"))),
        }
    }

    /// A number of 64 bits at `index`, as a JSON number or in hex.
    pub(super) fn number(&self, index: usize) -> Result<Option<u64>, RpcError> {
        let number: Option<U256> = self.optional(index)?;
        number
            .map(|number| {
                u64::try_from(number)
                    .map_err(|_| RpcError::invalid_params(format!("invalid argument {index}: more than 64 bits")))
            })
            .transpose()
    }

    /// The parameter at `index`, unparsed.
    pub(super) fn raw(&self, index: usize) -> Option<&Value> {
        self.0.get(index).filter(|value| !value.is_null())
    }
}
