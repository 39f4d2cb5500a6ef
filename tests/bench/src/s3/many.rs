//! Many objects: listing them, coming back after a kill, memory.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Bench, ROUNDS};
use crate::content::{Random, key};
use crate::load::Connection;
use crate::progress;
use crate::request::Maker;
use crate::server::{Memory, Server};
use crate::table::{Row, Wanted};

/// The set of all objects.
const SET: &str = "many";

/// Keys of one answer.
const PAGE: u64 = 1000;

/// What a query in canonical form leaves as it is.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Seconds for listing a million keys, and for coming back with a million objects.
const SECONDS_PER_MILLION: f64 = 5.0;

/// Seconds that a process may take to start, however few objects there are.
const START: f64 = 0.5;

pub(super) async fn measure(bench: &Bench<'_>) -> Result<Vec<Row>> {
    let objects = bench.options.objects;
    let (disks, size) = (bench.options.disks, bench.options.object_bytes);
    let subject = bench.subject("many", disks).await?;
    progress(&format!("filling with {objects} objects"));
    let first = bench.fill(&subject, SET, size, 0..objects / 10).await?;
    let early = subject.memory()?;
    let rate = bench.fill(&subject, SET, size, objects / 10..objects).await?;
    let late = subject.memory()?;
    let mut lists = Vec::new();
    for round in 0..ROUNDS {
        progress(&format!("listing, round {}", round + 1));
        let started = Instant::now();
        list(bench, &subject, objects).await?;
        lists.push(started.elapsed().as_secs_f64());
    }
    subject.kill();
    progress("reopening after a kill");
    let started = Instant::now();
    let again = bench.reopened("many", disks)?;
    let ready = started.elapsed().as_secs_f64();
    let mut connection = Connection::open(again.address).await?;
    let maker = Maker::new(&bench.content)?;
    let mut random = Random(7);
    connection.send(maker.get(size, SET, random.next() % objects)?).await?;
    let first_get = started.elapsed().as_secs_f64();
    for _ in 0..100 {
        connection.send(maker.get(size, SET, random.next() % objects)?).await?;
    }
    let reopened = again.memory()?;
    drop(again);
    bench.remove("many")?;

    let allowed = SECONDS_PER_MILLION * objects as f64 / 1e6;
    let limit = "wanted: 5 s per million";
    let start = allowed.max(START);
    let start_limit = "wanted: the same, at least 0.5 s";
    let mut rows = vec![
        Row::new(format!("filling with {objects} objects"), "/s", vec![rate]).beside(
            "its first tenth",
            vec![first],
            Wanted::Nothing,
        ),
        Row::new(format!("list {objects} keys by {PAGE}"), "s", lists).beside(
            limit,
            vec![allowed],
            Wanted::Most(1.0),
        ),
        Row::new(format!("ready after kill, {objects} objects"), "s", vec![ready]).beside(
            start_limit,
            vec![start],
            Wanted::Most(1.0),
        ),
        Row::new("first GET after kill", "s", vec![first_get]).beside(
            start_limit,
            vec![start],
            Wanted::Most(1.0),
        ),
    ];
    let mib = |bytes: f64| bytes / f64::from(1 << 20);
    let memory = |name: &str, of: fn(&Memory) -> f64| {
        Row::new(format!("{name}, {objects} objects"), "MiB", vec![mib(of(&late))]).beside(
            format!("at {} objects", objects / 10),
            vec![mib(of(&early))],
            Wanted::Most(1.1),
        )
    };
    rows.push(memory("resident memory", |memory| memory.now));
    rows.push(memory("its peak", |memory| memory.peak));
    rows.push(Row::new("resident memory after reopening", "MiB", vec![mib(reopened.now)]).beside(
        "before the kill",
        vec![mib(late.now)],
        Wanted::Nothing,
    ));
    Ok(rows)
}

/// Lists everything, page by page; every key must be there, in order.
async fn list(bench: &Bench<'_>, server: &Server, objects: u64) -> Result<()> {
    let mut connection = Connection::open(server.address).await?;
    let maker = Maker::new(&bench.content)?;
    let size = bench.options.object_bytes;
    let prefix = encode(&format!("{size}/{SET}/"));
    let mut after: Option<String> = None;
    let mut number = 0;
    loop {
        let from = after
            .map_or_else(String::new, |token| format!("continuation-token={}&", encode(&token)));
        let query = format!("{from}list-type=2&max-keys={PAGE}&prefix={prefix}");
        let page = connection.fetch(maker.list(&query)?).await?;
        let page = String::from_utf8(page).context("a listing is not UTF-8")?;
        for found in elements(&page, "Key") {
            ensure!(found == key(size, SET, number), "key {number} of a listing is {found}");
            number += 1;
        }
        after = elements(&page, "NextContinuationToken").next().map(unescape);
        if after.is_none() {
            break;
        }
    }
    ensure!(number == objects, "{objects} keys were wanted, {number} were listed");
    Ok(())
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

/// The content of all elements with this name; they hold no others.
fn elements<'a>(xml: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut rest = xml;
    std::iter::from_fn(move || {
        let (_, from) = rest.split_once(&open)?;
        let (content, after) = from.split_once(&close)?;
        rest = after;
        Some(content)
    })
}

fn unescape(text: &str) -> String {
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
    text.replace("&apos;", "'").replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_of_a_listing_are_found_in_order() {
        let xml = "<L><Key>a</Key><X/><Key>b</Key><Keys>c</Keys></L>";
        assert_eq!(elements(xml, "Key").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(elements(xml, "Token").next(), None);
    }

    #[test]
    fn a_token_goes_back_as_it_came() {
        assert_eq!(unescape("a&amp;lt;b&quot;"), "a&lt;b\"");
        assert_eq!(encode("a/b=c~"), "a%2Fb%3Dc~");
    }
}
