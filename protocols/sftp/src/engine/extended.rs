//! The extensions, as calls of the engine.
//!
//! Owns what each of them starts or answers. Their formats are `extensions`, their work is `ops`.

use std::sync::Arc;

use bytes::Bytes;
use portcullis_gate::FsError;
use portcullis_model::{ParentOfRoot, VirtualPath};

use super::Engine;
use crate::codec::WireHandle;
use crate::copy_data::Part;
use crate::extensions::{self, Extension, MAX_IDS};
use crate::home;
use crate::ops;
use crate::quirks;
use crate::status::code;
use crate::tree::Tree;

impl<T: Tree> Engine<T> {
    pub(super) fn extended(&mut self, id: u32, request: &[u8], data: Bytes) {
        let Some(extension) = extensions::parse(request, data) else {
            return self.status(id, code::BAD_MESSAGE, "the request's fields do not fit");
        };
        if let Some(step) = ops::start_extension(&self.tree, &extension) {
            return self.take_step(id, step);
        }
        match extension {
            Extension::Limits => {
                let max = self.handles.max();
                self.replies.put(|out| extensions::put_limits(out, id, max));
            }
            Extension::Fsync(handle) => {
                self.on_file(id, handle, |file| Some(ops::file_sync(file)));
            }
            Extension::Fstatvfs(handle) => match self.handles.file_ref(handle) {
                Some(open) => {
                    let step = ops::space(&self.tree, open.path.clone());
                    self.take_step(id, step);
                }
                None => self.bad_handle(id),
            },
            Extension::HomeDirectory(name) => {
                let home = home::home_of(&self.tree, &name);
                self.path(id, home);
            }
            Extension::ExpandPath(path) => {
                let path = self.expand(&path);
                self.path(id, path);
            }
            Extension::NamesById { users, groups } => self.names_by_id(id, &users, &groups),
            Extension::CopyData {
                source,
                target,
                part,
            } => self.copy_data(id, source, target, part),
            Extension::CheckHandle {
                handle,
                wanted,
                named,
            } => {
                let with = self.lasting.clone();
                self.on_file(id, handle, |file| {
                    Some(ops::check_file(file, wanted, named, with))
                });
            }
            Extension::CheckName { path, wanted } => {
                let step = ops::check_name(&self.tree, &path, wanted, self.lasting.clone());
                self.take_step(id, step);
            }
            _ => self.status(id, code::OP_UNSUPPORTED, "this extension is not supported"),
        }
    }

    /// `~` and `~name` at the start are a home; all else is as in REALPATH.
    fn expand(&self, path: &[u8]) -> Result<VirtualPath, FsError> {
        let parent = ParentOfRoot::StaysAtRoot;
        match path.strip_prefix(b"~") {
            Some(rest) => home::after_tilde(&self.tree, rest, parent),
            None => self.tree.resolve(quirks::starting_folder(path), parent),
        }
    }

    fn names_by_id(&mut self, id: u32, users: &[u8], groups: &[u8]) {
        if users.len() + groups.len() > MAX_IDS * 4 {
            let message = "too many ids in one request, at most 8192";
            return self.status(id, code::FAILURE, message);
        }
        self.replies
            .put(|out| extensions::put_names_by_id(out, id, users, groups));
    }

    fn copy_data(&mut self, id: u32, source: WireHandle, target: WireHandle, part: Part) {
        let (Some(from), Some(to)) = (self.handles.file_ref(source), self.handles.file_ref(target))
        else {
            return self.bad_handle(id);
        };
        if source == target || from.path == to.path {
            let message = "source and target of a copy are the same file";
            return self.status(id, code::FAILURE, message);
        }
        let (from, to) = (Arc::clone(&from.file), Arc::clone(&to.file));
        self.under_way = Some((id, ops::copy(from, to, part, self.lasting.clone())));
    }
}
