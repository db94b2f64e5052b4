//! Places and names (rules U1, U8).

use portcullis_gate::{EntryKind, StageFrom};

use super::assert_fails;
use crate::{Permits, Subject};

/// The root stands, and lies in no folder.
pub async fn root_is_a_folder<P: Permits>(s: &Subject<P>) {
    let root = s.stat("/").await.unwrap();
    assert_eq!((root.kind, root.size), (EntryKind::Folder, 0));
    assert!(s.names("/").await.is_empty());
    assert!(s.stat_partial("/").await.is_none());
    assert_fails!(s.make_dir("/").await, AlreadyExists);
    assert_fails!(s.remove_dir("/").await, Unsupported);
    assert_fails!(s.remove_file("/").await, IsAFolder);
    assert_fails!(s.open_read("/").await, IsAFolder);
    assert_fails!(s.stage("/", StageFrom::Empty).await, IsAFolder);
    assert_fails!(s.rename("/", "/x", false).await, Unsupported);
    s.make_dir("/d").await.unwrap();
    assert_fails!(s.rename("/d", "/", true).await, Unsupported);
}

/// Nothing is `None` for a look and *not found* for everything else.
pub async fn nothing_is_not_found<P: Permits>(s: &Subject<P>) {
    for path in ["/none", "/none/below"] {
        assert!(s.stat(path).await.is_none());
        assert!(s.stat_partial(path).await.is_none());
        assert_fails!(s.open_read(path).await, NotFound);
        assert_fails!(s.open_modify(path).await, NotFound);
        assert_fails!(s.storage.list(s.permit(path)).await, NotFound);
        assert_fails!(s.remove_file(path).await, NotFound);
        assert_fails!(s.remove_dir(path).await, NotFound);
        assert_fails!(s.rename(path, "/other", false).await, NotFound);
        assert_fails!(s.set_attributes(path, Default::default()).await, NotFound);
        assert_fails!(s.space(path).await, NotFound);
    }
}

/// A place below a file is no place.
pub async fn nothing_stands_below_a_file<P: Permits>(s: &Subject<P>) {
    s.put("/file", b"x").await;
    assert!(s.stat("/file/below").await.is_none());
    assert!(s.stat_partial("/file/below").await.is_none());
    assert_fails!(s.open_read("/file/below").await, NotFound);
    assert_fails!(s.storage.list(s.permit("/file")).await, NotAFolder);
    assert_fails!(s.storage.list(s.permit("/file/below")).await, NotFound);
    assert_fails!(s.make_dir("/file/below").await, NotAFolder);
    assert_fails!(s.stage("/file/below", StageFrom::Empty).await, NotAFolder);
}

/// rule U8: a name in any script goes through every call unchanged.
pub async fn names_in_any_script<P: Permits>(s: &Subject<P>) {
    let names = [
        "日本語",
        "Ünïcödé",
        "عربى",
        "עברית",
        "😀",
        "한글",
        "a b",
        "%41",
        "-rf",
        "~",
    ];
    for name in names {
        let folder = format!("/{name}");
        let file = format!("/{name}/{name}.txt");
        s.make_dir(&folder).await.unwrap();
        s.leave(&file, b"half").await;
        assert_eq!(s.names(&folder).await, [format!("{name}.txt*")]);
        s.put(&file, name.as_bytes()).await;
        assert_eq!(s.get(&file).await.unwrap(), name.as_bytes());
        assert_eq!(s.names(&folder).await, [format!("{name}.txt")]);
        let moved = format!("/{name}/{name}");
        s.rename(&file, &moved, false).await.unwrap();
        assert!(s.stat(&file).await.is_none());
        s.remove_file(&moved).await.unwrap();
        s.remove_dir(&folder).await.unwrap();
    }
    assert!(s.names("/").await.is_empty());
}

/// The longest names work; a partial under such a name can be continued (rule U5).
pub async fn names_of_255_bytes<P: Permits>(s: &Subject<P>) {
    let path = format!("/{}", "n".repeat(255));
    s.leave(&path, b"one").await;
    assert_eq!(s.stat_partial(&path).await.unwrap().size, 3);
    let staged = s.stage(&path, StageFrom::Partial).await.unwrap();
    staged.write_at(3, b"two").await.unwrap();
    s.publish_new(&*staged, &path).await.unwrap();
    assert_eq!(s.get(&path).await.unwrap(), b"onetwo");
    assert_eq!(s.names("/").await, [&path[1..]]);
    // Two such names, alike but for their end, are two uploads.
    let other = format!("/{}m", "n".repeat(254));
    assert!(s.stat_partial(&other).await.is_none());
    s.remove_file(&path).await.unwrap();
}
