//! What someone else does to the name between two steps of publishing over a file (rule U4).
//!
//! On a volume in memory all steps run on the thread of the test.

use portcullis_gate::{StageFrom, StorageError};

use super::{in_memory, open, subject};
use crate::steps::act_at_steps;

// rule U4: another file came between the look and the exchange: it gets its name back.
#[tokio::test]
async fn file_that_came_between_is_put_back() {
    let root = in_memory();
    let s = subject(&open(root.path()));
    let old = s.put("/f", b"old").await;
    let staged = s.stage("/f", StageFrom::Empty).await.unwrap();
    staged.write_at(0, b"mine").await.unwrap();
    let (other, name) = (root.path().join("other"), root.path().join("f"));
    std::fs::write(&other, b"another's").unwrap();
    act_at_steps(move |step| {
        if step == "looked" {
            std::fs::rename(&other, &name).unwrap();
        }
    });
    let outcome = s.publish_over(&*staged, "/f", old.identity).await;
    assert!(matches!(outcome, Err(StorageError::Changed)), "{outcome:?}");
    assert_eq!(s.get("/f").await.unwrap(), b"another's");
    act_at_steps(|_| {});
    // The partial is kept, and can be published over the new one.
    let now = s.stat("/f").await.unwrap().identity;
    s.publish_over(&*staged, "/f", now).await.unwrap();
    assert_eq!(s.get("/f").await.unwrap(), b"mine");
}

// A folder came between: it gets its name back, with what it holds.
#[tokio::test]
async fn folder_that_came_between_is_put_back() {
    let root = in_memory();
    let s = subject(&open(root.path()));
    let old = s.put("/f", b"old").await;
    let staged = s.stage("/f", StageFrom::Empty).await.unwrap();
    let name = root.path().join("f");
    act_at_steps(move |step| {
        if step == "looked" {
            std::fs::remove_file(&name).unwrap();
            std::fs::create_dir(&name).unwrap();
            std::fs::write(name.join("below"), b"x").unwrap();
        }
    });
    let outcome = s.publish_over(&*staged, "/f", old.identity).await;
    assert!(matches!(outcome, Err(StorageError::Changed)), "{outcome:?}");
    assert_eq!(s.get("/f/below").await.unwrap(), b"x");
}

// Someone removed the new version before the other file could be put back: nothing of theirs is
// lost.
#[tokio::test]
async fn file_that_came_between_is_put_back_on_a_free_name() {
    let root = in_memory();
    let s = subject(&open(root.path()));
    let old = s.put("/f", b"old").await;
    let staged = s.stage("/f", StageFrom::Empty).await.unwrap();
    let (other, name) = (root.path().join("other"), root.path().join("f"));
    std::fs::write(&other, b"another's").unwrap();
    act_at_steps(move |step| match step {
        "looked" => std::fs::rename(&other, &name).unwrap(),
        "unexpected" => std::fs::remove_file(&name).unwrap(),
        _ => {}
    });
    let outcome = s.publish_over(&*staged, "/f", old.identity).await;
    assert!(matches!(outcome, Err(StorageError::Changed)), "{outcome:?}");
    assert_eq!(s.get("/f").await.unwrap(), b"another's");
}

// rule U2: an upload that is cut while it is being published appears nowhere.
#[tokio::test(flavor = "multi_thread")]
async fn upload_cut_in_the_middle_is_not_published() {
    let root = super::on_disk();
    let s = subject(&open(root.path()));
    let old = s.put("/old", &vec![1; 64 << 20]).await;
    let data = vec![2; 64 << 20];
    for path in ["/new", "/old"] {
        let from = if path == "/new" {
            StageFrom::Empty
        } else {
            StageFrom::Existing
        };
        let staged = s.stage(path, from).await.unwrap();
        staged.write_at(0, &data[..32 << 20]).await.unwrap();
        let publish = async {
            if path == "/new" {
                s.publish_new(&*staged, path).await
            } else {
                s.publish_over(&*staged, path, old.identity).await
            }
        };
        // Polled once, so that its steps have begun.
        let cut = tokio::time::timeout(std::time::Duration::ZERO, publish).await;
        assert!(cut.is_err(), "the volume is too fast for this test");
        drop(staged);
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    assert!(s.stat("/new").await.is_none());
    assert_eq!(s.stat("/old").await.unwrap().identity, old.identity);
}
