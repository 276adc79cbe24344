//! A wallet's view of the node, which the scenarios have too.

pub(crate) use joule_scenarios::Client;
