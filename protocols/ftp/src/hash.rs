//! Checksums of files (draft-bryan-ftpext-hash-02).
//!
//! Owns the names of the algorithms. Knows nothing of how a file is read.

use std::sync::Arc;

use data_encoding::HEXLOWER;
use portcullis_common::read_through;
use portcullis_gate::{AuthorizedFs, FsError, OpenOptions};
use portcullis_model::VirtualPath;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::reply::Reply;

pub(crate) use portcullis_common::Algorithm;

/// Its name in the draft.
pub(crate) fn name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Md5 => "MD5",
        Algorithm::Sha1 => "SHA-1",
        Algorithm::Sha256 => "SHA-256",
    }
}

/// The algorithm of this name.
pub(crate) fn named(text: &str) -> Option<Algorithm> {
    Algorithm::ALL
        .into_iter()
        .find(|algorithm| name(*algorithm).eq_ignore_ascii_case(text))
}

/// As FEAT has them: the chosen one carries a star.
pub(crate) fn features(chosen: Algorithm) -> String {
    let all = Algorithm::ALL.into_iter().rev();
    all.map(|one| format!("{}{};", name(one), if one == chosen { "*" } else { "" }))
        .collect()
}

/// HASH: the whole file, or from REST's offset on.
pub(crate) async fn hash(
    fs: AuthorizedFs,
    path: VirtualPath,
    algorithm: Algorithm,
    from: u64,
    threads: Arc<Semaphore>,
) -> Reply {
    match hash_file(fs, &path, algorithm, from, &threads).await {
        Ok((end, hash)) => {
            // The range names its last byte.
            let (name, path, last) = (name(algorithm), path.as_str(), end.saturating_sub(1));
            Reply::new(213, format!("{name} {from}-{last} {hash} {path}"))
        }
        Err(error) => error.into(),
    }
}

async fn hash_file(
    fs: AuthorizedFs,
    path: &VirtualPath,
    algorithm: Algorithm,
    from: u64,
    threads: &Arc<Semaphore>,
) -> Result<(u64, String), FsError> {
    let options = OpenOptions {
        read: true,
        ..OpenOptions::default()
    };
    let file = fs.open(path, options).await?;
    let end = file.stat().await?.size;
    // The work ends when it is dropped.
    let stop = CancellationToken::new();
    let feed = portcullis_common::Hash::update;
    let begun = algorithm.begin();
    let hash = read_through(&file, from, end, begun, feed, threads, &stop).await?;
    file.close().await?;
    let mut bytes = Vec::new();
    hash.finish(&mut bytes);
    Ok((end, HEXLOWER.encode(&bytes)))
}
