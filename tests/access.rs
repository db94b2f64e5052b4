//! Who may reach what, over the wire (permissions.md).

mod demo_tree;
mod levels;
mod levels_ftp;
mod own;
mod report;
mod rules;
