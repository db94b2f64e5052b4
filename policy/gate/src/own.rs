//! Own uploads (permissions.md 4, rule U6).
