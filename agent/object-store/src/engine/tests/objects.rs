use super::*;
use crate::checksum::Checksums;
use crate::list::{ListEntry, ListQuery};
use crate::names::ETag;
use crate::names::PartNumber;
use crate::store::{CompleteRequest, UploadRequest, UploadTarget};

/// Sizes around every border: of what is inline, of rows, of blocks.
const SIZES: [usize; 8] =
    [0, 1, 4096, 256 << 10, (256 << 10) + 1, (2 << 20) - 1, 2 << 20, (5 << 20) + 77];

#[test]
fn what_is_put_is_read_back_whole_and_in_ranges_on_any_number_of_volumes() {
    for volumes in [1, 2, 3, 4, 6] {
        run(async {
            let (core, _) = Machine::new(volumes).open().await.unwrap();
            make_bucket(&core).await.unwrap();
            for (number, size) in SIZES.into_iter().enumerate() {
                let bytes = content(number as u64, size);
                let name = format!("object-{size}");
                let info = put(&core, &name, bytes.clone()).await.unwrap();
                assert_eq!(info.size, size as u64);
                assert_eq!(read(&core, &name).await.unwrap().as_ref(), Some(&bytes), "{size}");
                for (from, to) in [(0, 0), (1, 100), (70_000, 140_000), (1 << 20, 3 << 20)] {
                    if from < size {
                        let range = ReadRange::Between(from as u64, to as u64);
                        let found = read_range(&core, &name, range).await.unwrap().unwrap();
                        assert!(found == bytes[from..size.min(to + 1)], "{size}: {from}-{to}");
                    }
                }
            }
            assert_eq!(read(&core, "absent").await.unwrap(), None);
            delete(&core, "object-4096").await.unwrap();
            assert_eq!(read(&core, "object-4096").await.unwrap(), None);
        });
    }
}

#[test]
fn an_upload_in_parts_is_read_as_one_object() {
    run(async {
        let machine = Machine::new(4);
        let (core, _) = machine.open().await.unwrap();
        make_bucket(&core).await.unwrap();
        let request = UploadRequest {
            bucket: bucket(),
            key: key("a"),
            owner: Owner::new("ann").unwrap(),
            attributes: Attributes::default(),
            note: None,
        };
        let upload = Arc::clone(&core).create_upload(request).await.unwrap().upload;
        let target = UploadTarget { bucket: bucket(), key: key("a"), upload };
        let (mut whole, mut parts) = (Vec::new(), Vec::new());
        for (number, size) in [(2, 300 << 10), (5, 10), (9, 3 << 20)] {
            let bytes = content(number.into(), size);
            whole.extend_from_slice(&bytes);
            let number = PartNumber::new(number).unwrap();
            let body = Body::from_bytes(bytes.into());
            let info = Arc::clone(&core).put_part(&target, number, Vec::new(), body).await.unwrap();
            parts.push((number, info.etag));
        }
        let etag = ETag::new("made-of-parts-3").unwrap();
        let request = CompleteRequest {
            target,
            parts,
            etag,
            checksums: Checksums::default(),
            conditions: WriteConditions::default(),
        };
        let info = Arc::clone(&core).complete_upload(request.clone()).await.unwrap();
        let again = Arc::clone(&core).complete_upload(request).await.unwrap();
        assert_eq!((info.version, info.parts), (again.version, Some(3)));
        let check = async |core: &Arc<Core>| {
            assert!(read(core, "a").await.unwrap().as_ref() == Some(&whole));
            let range = ReadRange::Between(300_000, 310_000);
            let found = read_range(core, "a", range).await.unwrap().unwrap();
            assert!(found == whole[300_000..=310_000]);
            let second = ReadRange::Part(PartNumber::new(2).unwrap());
            assert_eq!(read_range(core, "a", second).await.unwrap().unwrap(), content(5, 10));
        };
        check(&core).await;
        drop(core);
        let (core, opened) = machine.cut(Cut::Lost).open().await.unwrap();
        assert!(opened.replayed >= 5);
        check(&core).await;
    });
}

#[test]
fn as_many_volumes_may_be_pulled_as_there_is_parity() {
    for (volumes, lost) in [(2, 1), (3, 1), (4, 2), (6, 2)] {
        let machine = Machine::new(volumes);
        run(async {
            let (core, _) = machine.open().await.unwrap();
            make_bucket(&core).await.unwrap();
            for (number, size) in SIZES.into_iter().enumerate() {
                put(&core, &format!("{size}"), content(number as u64, size)).await.unwrap();
            }
        });
        let mut machine = machine;
        for first in 0..volumes {
            machine = machine.cut(Cut::Kept);
            run(async {
                let (core, _) = machine.open().await.unwrap();
                for at in 0..lost {
                    machine.disk.pull(&format!("/v{}", (first + at) % volumes));
                }
                for (number, size) in SIZES.into_iter().enumerate() {
                    let found = read(&core, &format!("{size}")).await.unwrap();
                    assert!(found == Some(content(number as u64, size)), "{size} of {volumes}");
                }
            });
            for number in 0..volumes {
                machine.disk.plug(&format!("/v{number}"));
            }
        }
    }
}

#[test]
fn writes_go_on_when_a_volume_fails_and_end_where_one_copy_only_could_be_made() {
    run(async {
        let machine = Machine::new(4);
        let (core, _) = machine.open().await.unwrap();
        make_bucket(&core).await.unwrap();
        let all = async |core: &Arc<Core>, names: &[String]| {
            for name in names {
                let size = name.rsplit('-').next().unwrap().parse().unwrap();
                let found = read(core, name).await.unwrap();
                assert!(found == Some(content(size as u64, size)), "{name}");
            }
        };
        let mut names = Vec::new();
        for round in 0..3 {
            for size in [10, 600 << 10] {
                for again in 0..3 {
                    let name = format!("{round}-{again}-{size}");
                    put(&core, &name, content(size as u64, size)).await.unwrap();
                    names.push(name);
                }
            }
            if round < 2 {
                machine.disk.pull(&format!("/v{round}"));
            }
            all(&core, &names).await;
        }
        machine.disk.pull("/v2");
        let error = put(&core, "too-few", content(1, 10)).await;
        assert!(error.is_err(), "{error:?}");
    });
}

#[test]
fn a_listing_shows_what_can_be_read() {
    run(async {
        let (core, _) = Machine::new(2).open().await.unwrap();
        make_bucket(&core).await.unwrap();
        for name in ["a/1", "a/2", "b", "c/1"] {
            put(&core, name, vec![0; 3]).await.unwrap();
        }
        delete(&core, "b").await.unwrap();
        let query = ListQuery { delimiter: Some("/".into()), limit: 10, ..ListQuery::default() };
        let page = core.list(&bucket(), &query).unwrap();
        let names: Vec<&str> = page
            .entries
            .iter()
            .map(|entry| match entry {
                ListEntry::Object(object) => object.key.as_str(),
                ListEntry::Prefix(prefix) => prefix.as_str(),
            })
            .collect();
        assert_eq!(names, ["a/", "c/"]);
    });
}
