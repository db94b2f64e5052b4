//! What one decision costs with 1,000 grants on the account: `cargo bench -p portcullis-model`.
//!
//! Each bench asks of a file six folders deep. The grants lie as real ones do (one a folder), or
//! all on the deciding folder and above it, which is the worst that an administrator can make.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark")]

use divan::{Bencher, black_box};
use portcullis_model::{
    AccessLevel, AccessRequest, AccessView, AccountId, Action, GrantId, GrantSubject, PlaceKind,
    Principal, Protocol, ProtocolSet, ViewGrant, VirtualPath, decide,
};

const GRANTS: i64 = 1_000;
const FILE: &str = "/customers/north/acme/2026/invoices/november/invoice-0001.pdf";

fn main() {
    divan::main();
}

fn path(text: &str) -> VirtualPath {
    text.parse().unwrap()
}

fn view(grants: impl Iterator<Item = (String, AccessLevel)>) -> AccessView {
    let principal = Principal {
        id: AccountId(1),
        name: "ana".parse().unwrap(),
        groups: Vec::new(),
    };
    let builder = AccessView::builder(principal).protocols(ProtocolSet::ALL);
    let builder = grants
        .enumerate()
        .fold(builder, |builder, (id, (folder, level))| {
            builder.grant(ViewGrant {
                id: GrantId(i64::try_from(id).unwrap()),
                folder: path(&folder),
                level,
                recursive: true,
                subject: GrantSubject::User,
            })
        });
    builder.build()
}

/// One grant a folder, the one that matters high above the file.
fn spread() -> AccessView {
    let folders = (1..GRANTS).map(|one| format!("/customers/south/c{one}/2026"));
    view(
        folders
            .chain(["/customers/north".to_owned()])
            .map(|folder| (folder, AccessLevel::Full)),
    )
}

/// All on the way to the file, and only the last and highest gives what is asked.
fn heaped() -> AccessView {
    let on_the_way = (1..GRANTS).map(|one| match one % 3 {
        0 => "/customers/north/acme/2026/invoices/november",
        1 => "/customers/north/acme",
        _ => "/customers",
    });
    let levels = on_the_way.map(|folder| (folder.to_owned(), AccessLevel::List));
    view(levels.chain([("/".to_owned(), AccessLevel::Full)]))
}

fn bench(bencher: Bencher<'_, '_>, view: AccessView, action: Action, file: &str) {
    let file = path(file);
    let request = AccessRequest::new(action, &file, PlaceKind::File, Protocol::Sftp);
    bencher.bench_local(|| decide(black_box(&view), black_box(&request)));
}

#[divan::bench]
fn allowed(bencher: Bencher<'_, '_>) {
    bench(bencher, spread(), Action::Read, FILE);
}

#[divan::bench]
fn denied(bencher: Bencher<'_, '_>) {
    bench(bencher, spread(), Action::Read, "/customers/west/a/b/c/d/e");
}

#[divan::bench]
fn allowed_behind_a_thousand_on_the_way(bencher: Bencher<'_, '_>) {
    bench(bencher, heaped(), Action::Read, FILE);
}

#[divan::bench]
fn denied_behind_a_thousand_on_the_way(bencher: Bencher<'_, '_>) {
    bench(bencher, heaped(), Action::ManageAccess, FILE);
}
