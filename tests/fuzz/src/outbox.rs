//! The outbox of the settlement engine: what it reads says what is signed next, so nothing may be read that was not written.

use std::io;

use agent_settlement::outbox::{Backend, Opened, Outbox, Owner, Record};

use crate::Given;
use crate::patches::crc32c;

pub(crate) const TARGETS: &[Given] = &[("outbox", outbox, outboxes)];

/// Bytes of a header, before the first frame.
const HEADER: usize = 48;

/// A file in memory.
#[derive(Debug, Default)]
struct Memory {
    file: Option<Vec<u8>>,
    aside: Vec<u8>,
}

impl Memory {
    fn file(&mut self) -> &mut Vec<u8> {
        self.file.get_or_insert_default()
    }
}

impl Backend for &mut Memory {
    fn load(&mut self) -> io::Result<Option<Vec<u8>>> {
        Ok(self.file.clone())
    }
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file().extend(bytes);
        Ok(())
    }
    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.file().truncate(usize::try_from(length).map_err(io::Error::other)?);
        Ok(())
    }
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
    fn write_aside(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.aside = bytes.to_vec();
        Ok(())
    }
    fn sync_aside(&mut self) -> io::Result<()> {
        Ok(())
    }
    fn rename_aside(&mut self) -> io::Result<()> {
        self.file = Some(std::mem::take(&mut self.aside));
        Ok(())
    }
    fn sync_folder(&mut self) -> io::Result<()> {
        Ok(())
    }
    fn set_aside(&mut self) -> io::Result<String> {
        self.file = None;
        Ok("aside".to_owned())
    }
}

fn owner() -> Owner {
    Owner { chain: 8453, account: [7; 20].into() }
}

/// The bytes of an outbox with these records.
fn written(records: &[Record]) -> Vec<u8> {
    let mut memory = Memory::default();
    let mut outbox = Outbox::begin_anew(&mut memory, owner()).expect("memory does not fail");
    for record in records {
        outbox.append(record).expect("what was read can be written");
    }
    memory.file.unwrap_or_default()
}

/// A frame around bytes, with the checksum that they have.
fn framed(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or_default().to_le_bytes();
    let sum = crc32c(&[&length, payload].concat());
    [&length[..], &sum[..], payload].concat()
}

/// The bytes as a file, behind a header, and as a record of their own.
fn outbox(bytes: &[u8]) {
    let header = written(&[]);
    assert_eq!(header.len(), HEADER);
    let behind = [&header, bytes].concat();
    let record = [&header[..], &framed(bytes)].concat();
    for file in [bytes.to_vec(), behind, record] {
        let mut memory = Memory { file: Some(file), aside: Vec::new() };
        let Ok(Opened::Ready(_, records)) = Outbox::open(&mut memory, owner()) else { continue };
        // What was torn is cut off: the file is now what these records are.
        let mut again = Memory { file: memory.file, aside: Vec::new() };
        let Ok(Opened::Ready(_, found)) = Outbox::open(&mut again, owner()) else {
            unreachable!("what was opened is opened again");
        };
        assert_eq!(found, records);
        let mut rewritten = Memory { file: Some(written(&records)), aside: Vec::new() };
        let Ok(Opened::Ready(_, found)) = Outbox::open(&mut rewritten, owner()) else {
            unreachable!("what was written is opened");
        };
        assert_eq!(found, records);
    }
}

fn outboxes() -> Vec<Vec<u8>> {
    const RECORDS: [&str; 6] = [
        r#"{"intent":{"seq":0,"digest":"0x0101010101010101010101010101010101010101010101010101010101010101","purpose":"wanted","call":{"to":"0x0202020202020202020202020202020202020202","data":"0x0304","probe":{"to":"0x0202020202020202020202020202020202020202","data":"0x05","word":1,"at_least":"0x6"}}}}"#,
        r#"{"signed":{"seq":0,"raw":"0x02f8","nonce":1,"hash":"0x0101010101010101010101010101010101010101010101010101010101010101","fee":{"max_wei":340282366920938463463374607431768211455,"tip_wei":1},"gas":21000,"day":20000}}"#,
        r#"{"mined":{"seq":0,"inclusion":{"tx":"0x0101010101010101010101010101010101010101010101010101010101010101","block":"0x0101010101010101010101010101010101010101010101010101010101010101","number":9,"ok":false}}}"#,
        r#"{"parked":{"seq":0,"reason":{"parked":"refused","revert":{"words":"Gone()","class":"terminal"}}}}"#,
        r#"{"final":{"seq":0,"how":"ours"}}"#,
        r#"{"carried":{"next":5,"spent":{"day":20000,"wei":7}}}"#,
    ];
    let records = RECORDS.map(|text| serde_json::from_str(text).expect("a record"));
    let mut seeds: Vec<_> = RECORDS.iter().map(|text| text.as_bytes().to_vec()).collect();
    let file = written(&records);
    seeds.push(file.get(HEADER..).unwrap_or_default().to_vec());
    seeds.push(file);
    seeds
}
