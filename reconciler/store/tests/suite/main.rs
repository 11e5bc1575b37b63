//! One suite for both databases: every case runs on real SQLite and on a real PostgreSQL server.

mod crashes;
mod writing;
