//! What is refused before a request reaches s3s, from its head alone.
//!
//! s3s 0.14 checks signatures. It also takes Signature Version 2 and the scope of another service,
//! knows no upper bound for how long presigned URLs last, reads forms into memory before it knows
//! who sent them, and does not ask that all of S3's headers are signed. All of that ends here.

use std::time::Duration;

use agent_object_store::UnixMillis;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use s3s::{S3Error, S3Result, s3_error};
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

/// Longest life of a presigned URL: 7 days (Signature Version 4, X-Amz-Expires).
const PRESIGNED_MAX_SECONDS: u64 = 604_800;

/// Most that the clocks of client and node may differ (S3: 15 minutes).
const SKEW_MAX: Duration = Duration::from_secs(15 * 60);

/// The form of `x-amz-date`.
const AMZ_DATE: &[BorrowedFormatItem<'_>] =
    format_description!("[year][month][day]T[hour][minute][second]Z");

/// The form in which messages name moments.
const SHOWN_DATE: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");

/// Refuses what s3s would take and should not, and makes headers of what a presigned URL says in
/// their place.
pub(crate) fn admit(parts: &mut Parts, now: UnixMillis) -> S3Result<()> {
    let query = Query::of(parts);
    check(parts, &query, now)?;
    if query.is_presigned() {
        take_headers(&query, &mut parts.headers)?;
    }
    Ok(())
}

fn check(parts: &Parts, query: &Query, now: UnixMillis) -> S3Result<()> {
    let authorization = parts.headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
    refuse_version_2(query, authorization)?;
    refuse_forms(parts)?;
    match (query.is_presigned(), authorization) {
        (true, Some(_)) => Err(s3_error!(
            InvalidArgument,
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature \
             query string parameter or the Authorization header should be specified"
        )),
        (true, None) => check_presigned(query, &parts.headers, now),
        (false, Some(authorization)) => check_header(authorization, &parts.headers, now),
        (false, None) => Ok(()),
    }
}

/// The query of a request, decoded.
struct Query(Vec<(String, String)>);

impl Query {
    fn of(parts: &Parts) -> Self {
        let query = parts.uri.query().unwrap_or_default().as_bytes();
        Self(form_urlencoded::parse(query).into_owned().collect())
    }

    fn is_presigned(&self) -> bool {
        self.has("X-Amz-Signature") || self.has("X-Amz-Algorithm")
    }

    fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// Names in the query of a presigned URL that are no headers: the signature's own, and checksums,
/// which some clients put there before they know the body.
const NO_HEADERS: [&str; 9] = [
    "x-amz-algorithm",
    "x-amz-checksum-",
    "x-amz-content-sha256",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-security-token",
    "x-amz-sign",
];

/// Clients may move headers of S3 to the query of a presigned URL, where the signature covers them:
/// they count as if they were sent. Left there, metadata would be lost without a word.
fn take_headers(query: &Query, headers: &mut HeaderMap) -> S3Result<()> {
    for (name, value) in &query.0 {
        let name = name.to_ascii_lowercase();
        if !name.starts_with("x-amz-") || NO_HEADERS.iter().any(|own| name.starts_with(own)) {
            continue;
        }
        let wrong = || s3_error!(InvalidArgument, "The parameter {name} cannot be a header.");
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| wrong())?;
        headers.entry(header).or_insert(value);
    }
    Ok(())
}

fn refuse_version_2(query: &Query, authorization: Option<&[u8]>) -> S3Result<()> {
    let in_header = authorization.is_some_and(|value| value.starts_with(b"AWS "));
    if in_header || query.has("AWSAccessKeyId") || query.has("Signature") {
        return Err(s3_error!(
            InvalidRequest,
            "The authorization mechanism you have provided is not supported. Please use \
             AWS4-HMAC-SHA256."
        ));
    }
    Ok(())
}

fn refuse_forms(parts: &Parts) -> S3Result<()> {
    let form = parts.headers.get(header::CONTENT_TYPE).is_some_and(|value| {
        let start = b"multipart/form-data";
        value.as_bytes().get(..start.len()).is_some_and(|v| v.eq_ignore_ascii_case(start))
    });
    if form && parts.method == Method::POST {
        return Err(s3_error!(NotImplemented, "Uploads by HTML form are not implemented."));
    }
    Ok(())
}

fn check_presigned(query: &Query, headers: &HeaderMap, now: UnixMillis) -> S3Result<()> {
    for expires in query.all("X-Amz-Expires") {
        check_expires(expires)?;
    }
    for credential in query.all("X-Amz-Credential") {
        check_scope(credential)?;
    }
    for date in query.all("X-Amz-Date") {
        let signed = parse_date(date)?;
        if signed.0 > now.0 {
            check_skew(signed, now)?;
        }
        let life = query.all("X-Amz-Expires").next().and_then(|seconds| seconds.parse().ok());
        check_life(signed, life.unwrap_or(PRESIGNED_MAX_SECONDS), now)?;
    }
    let signed = query.all("X-Amz-SignedHeaders").next().unwrap_or_default();
    // s3s checks the body against this one whether it is signed or not.
    check_signed(signed, headers, Some("x-amz-content-sha256"))
}

/// Says what s3s would refuse without the times, from which a person sees whose clock is wrong.
fn check_life(signed: UnixMillis, seconds: u64, now: UnixMillis) -> S3Result<()> {
    let end = UnixMillis(signed.0.saturating_add(seconds.saturating_mul(1000)));
    if now.0 <= end.0 {
        return Ok(());
    }
    Err(s3_error!(
        AccessDenied,
        "Request has expired: it was valid until {}, and the server's time is {}.",
        shown(end),
        shown(now)
    ))
}

fn check_expires(expires: &str) -> S3Result<()> {
    let refuse = |words: &'static str| {
        Err(S3Error::with_message(s3s::S3ErrorCode::AuthorizationQueryParametersError, words))
    };
    if expires.strip_prefix('-').is_some_and(|digits| digits.parse::<u64>().is_ok()) {
        return refuse("X-Amz-Expires must be non-negative");
    }
    match expires.parse::<u64>() {
        Ok(seconds) if seconds <= PRESIGNED_MAX_SECONDS => Ok(()),
        Ok(_) => refuse(
            "X-Amz-Expires must be less than a week (in seconds); that is, the given \
             X-Amz-Expires must be less than 604800 seconds",
        ),
        Err(_) => refuse("X-Amz-Expires should be a number"),
    }
}

fn check_header(authorization: &[u8], headers: &HeaderMap, now: UnixMillis) -> S3Result<()> {
    // What is not text or lacks a part is refused by s3s.
    let Ok(text) = std::str::from_utf8(authorization) else { return Ok(()) };
    let parameters = text.split_once(' ').map_or("", |(_, rest)| rest);
    let parameter = |name: &str| {
        parameters.split(',').map(str::trim).find_map(|p| p.strip_prefix(name)?.strip_prefix('='))
    };
    if let Some(credential) = parameter("Credential") {
        check_scope(credential)?;
    }
    if let Some(date) = headers.get("x-amz-date").and_then(|value| value.to_str().ok()) {
        check_skew(parse_date(date)?, now)?;
    }
    match parameter("SignedHeaders") {
        Some(signed) => check_signed(signed, headers, None),
        None => Ok(()),
    }
}

/// The scope must be one of S3: `KEY/DATE/REGION/s3/aws4_request`.
fn check_scope(credential: &str) -> S3Result<()> {
    let mut parts = credential.rsplit('/');
    match (parts.next(), parts.next()) {
        (Some("aws4_request"), Some("s3")) => Ok(()),
        _ => Err(s3_error!(
            AuthorizationHeaderMalformed,
            "The credential is malformed; expecting \
             \"<access-key>/YYYYMMDD/REGION/s3/aws4_request\"."
        )),
    }
}

fn parse_date(date: &str) -> S3Result<UnixMillis> {
    let parsed = PrimitiveDateTime::parse(date, AMZ_DATE).map_err(|_| {
        s3_error!(AccessDenied, "X-Amz-Date must be formatted via ISO8601 Long format")
    })?;
    let seconds = u64::try_from(parsed.assume_utc().unix_timestamp()).unwrap_or(0);
    Ok(UnixMillis(seconds.saturating_mul(1000)))
}

fn check_skew(signed: UnixMillis, now: UnixMillis) -> S3Result<()> {
    if Duration::from_millis(signed.0.abs_diff(now.0)) <= SKEW_MAX {
        return Ok(());
    }
    Err(s3_error!(
        RequestTimeTooSkewed,
        "The difference between the request time ({}) and the server's time ({}) is too large: at \
         most {} minutes are allowed. Set the clock that is wrong.",
        shown(signed),
        shown(now),
        SKEW_MAX.as_secs() / 60
    ))
}

fn shown(moment: UnixMillis) -> String {
    let seconds = i64::try_from(moment.seconds()).unwrap_or(i64::MAX);
    let moment = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    moment.format(SHOWN_DATE).unwrap_or_else(|_| format!("{seconds} s since 1970"))
}

/// All headers that mean something to S3 must be signed, or whoever carries the request could add
/// some.
fn check_signed(signed: &str, headers: &HeaderMap, except: Option<&str>) -> S3Result<()> {
    let is_signed = |name: &str| signed.split(';').any(|s| s.eq_ignore_ascii_case(name));
    if !is_signed("host") {
        return Err(s3_error!(
            AuthorizationHeaderMalformed,
            "'Host' must be a signed header in the AWS authorization."
        ));
    }
    let must = |name: &&str| name.starts_with("x-amz-") && Some(*name) != except;
    match headers.keys().map(HeaderName::as_str).filter(must).find(|n| !is_signed(n)) {
        None => Ok(()),
        Some(name) => Err(s3_error!(
            AccessDenied,
            "There were headers present in the request which were not signed: {name}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    /// 2026-01-02T03:04:05Z.
    const NOW: UnixMillis = UnixMillis(1_767_323_045_000);
    const SCOPE: &str = "AK/20260102/eu/s3/aws4_request";

    fn verdict(request: http::request::Builder) -> String {
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        match admit(&mut parts, NOW) {
            Ok(()) => "ok".to_owned(),
            Err(error) => format!("{}: {}", error.code().as_str(), error.message().unwrap_or("")),
        }
    }

    fn signed(date: &str, scope: &str, headers: &str) -> http::request::Builder {
        let value =
            format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={headers}, Signature=00");
        Request::get("/b/k").header("authorization", value).header("x-amz-date", date)
    }

    fn presigned(date: &str, expires: &str) -> http::request::Builder {
        let scope = SCOPE.replace('/', "%2F");
        Request::get(format!(
            "/b/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={scope}&X-Amz-Date={date}\
             &X-Amz-Expires={expires}&X-Amz-SignedHeaders=host&X-Amz-Signature=00"
        ))
    }

    #[test]
    fn signature_version_2_is_refused_in_every_form() {
        let header = Request::get("/b").header("authorization", "AWS AK:sig");
        assert!(verdict(header).contains("Please use AWS4-HMAC-SHA256"));
        for query in ["AWSAccessKeyId=AK&Expires=1&Signature=x", "Sig%6eature=x"] {
            let answer = verdict(Request::get(format!("/b/k?{query}")));
            assert!(answer.starts_with("InvalidRequest"), "{query}: {answer}");
        }
    }

    #[test]
    fn presigned_urls_live_at_most_a_week() {
        assert_eq!(verdict(presigned("20260102T030405Z", "604800")), "ok");
        for (expires, words) in [
            ("604801", "less than a week"),
            ("99999999999999999999999", "should be a number"),
            ("-5", "non-negative"),
            ("soon", "should be a number"),
        ] {
            let answer = verdict(presigned("20260102T030405Z", expires));
            assert!(answer.starts_with("AuthorizationQueryParametersError"), "{answer}");
            assert!(answer.contains(words), "{answer}");
        }
    }

    #[test]
    fn headers_in_a_presigned_url_count_as_headers() {
        let url = "/b/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-SignedHeaders=host&x-amz-meta-a=b%20c\
                   &X-Amz-Acl=private&x-amz-checksum-crc32=AAAAAA%3D%3D&X-Amz-Signature=0";
        let (mut parts, ()) = Request::put(url).body(()).unwrap().into_parts();
        admit(&mut parts, NOW).unwrap();
        let names: Vec<_> = parts.headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["x-amz-meta-a", "x-amz-acl"]);
        assert_eq!(parts.headers["x-amz-meta-a"], "b c");
        let (mut parts, ()) = Request::put("/b/k?x-amz-acl=x").body(()).unwrap().into_parts();
        admit(&mut parts, NOW).unwrap();
        assert!(parts.headers.is_empty());
    }

    #[test]
    fn a_wrong_clock_is_told_with_both_times() {
        let both = "host;x-amz-date";
        assert_eq!(verdict(signed("20260102T031900Z", SCOPE, both)), "ok");
        for date in ["20260102T032000Z", "20260102T024900Z", "20250102T030405Z"] {
            let answer = verdict(signed(date, SCOPE, both));
            assert!(answer.starts_with("RequestTimeTooSkewed"), "{answer}");
            assert!(answer.contains("2026-01-02T03:04:05Z"), "{answer}");
        }
        let shown = verdict(signed("20260102T032000Z", SCOPE, both));
        assert!(shown.contains("2026-01-02T03:20:00Z"), "{shown}");
    }

    #[test]
    fn a_presigned_url_may_be_old_but_not_over_nor_from_the_future() {
        assert_eq!(verdict(presigned("20260101T000000Z", "604800")), "ok");
        let answer = verdict(presigned("20260101T000000Z", "60"));
        assert!(answer.starts_with("AccessDenied"), "{answer}");
        assert!(answer.contains("until 2026-01-01T00:01:00Z"), "{answer}");
        assert!(answer.contains("time is 2026-01-02T03:04:05Z"), "{answer}");
        let answer = verdict(presigned("20260102T040000Z", "604800"));
        assert!(answer.starts_with("RequestTimeTooSkewed"), "{answer}");
    }

    #[test]
    fn headers_of_s3_must_be_signed() {
        let now = "20260102T030405Z";
        let unsigned = signed(now, SCOPE, "host;x-amz-date").header("x-amz-acl", "private");
        assert!(verdict(unsigned).contains("not signed: x-amz-acl"));
        assert!(verdict(signed(now, SCOPE, "x-amz-date")).contains("'Host' must be"));
        let presigned_one = presigned(now, "60").header("x-amz-copy-source", "a/b");
        assert!(verdict(presigned_one).contains("not signed: x-amz-copy-source"));
    }

    #[test]
    fn the_scope_must_be_one_of_s3() {
        let sts = signed("20260102T030405Z", "AK/20260102/eu/sts/aws4_request", "host;x-amz-date");
        assert!(verdict(sts).starts_with("AuthorizationHeaderMalformed"));
    }

    #[test]
    fn forms_and_two_signatures_are_refused() {
        let form = Request::post("/b").header("content-type", "Multipart/Form-Data; boundary=x");
        assert!(verdict(form).starts_with("NotImplemented"));
        let two = presigned("20260102T030405Z", "60").header("authorization", "AWS4-HMAC-SHA256 x");
        assert!(verdict(two).starts_with("InvalidArgument"));
    }
}
