//! Gathers a quorum of the committee's signatures, and fetches data back.
