//! Polls against a server that does what it likes.
