//! `joule-dac`, a member of the data availability committee.
