//! A lane: one writer of a volume's journal, with one frame in flight.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::AT_ONCE;
use super::frame::{build, framed, in_body};
use super::header::BLOCK;
use super::make::{prepare, take};
use super::plan::{Plan, plan};
use super::slots::{Ready, Slots};
use super::types::{JournalError, JournalPlace, Lsn};
use crate::backend::{Action, Buffer, Done, Failed, Job};
use crate::device::ANSWER_MAX;
use crate::seal::Spot;

/// Appends that wait in a lane's queue; more wait with their callers. A lane takes all of them with
/// its next frame if they are small.
const QUEUE: usize = 256;

/// A lane as those see it who append.
#[derive(Debug)]
pub(super) struct Lane {
    sender: mpsc::Sender<Command>,
    waiting: Arc<AtomicUsize>,
}

#[derive(Debug)]
enum Command {
    Append(Request),
    /// Seal the open segment.
    Seal(oneshot::Sender<()>),
    /// Seal it and end.
    Close(oneshot::Sender<()>),
}

/// A record that waits.
#[derive(Debug)]
struct Request {
    lsn: Lsn,
    record: Bytes,
    reply: oneshot::Sender<Result<JournalPlace, JournalError>>,
    _waiting: Waiting,
}

/// Counts a request for as long as it is not answered.
#[derive(Debug)]
struct Waiting(Arc<AtomicUsize>);

impl Waiting {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Lane {
    /// A lane with its task.
    pub(super) fn start(slots: Arc<Slots>) -> Self {
        let (sender, commands) = mpsc::channel(QUEUE);
        let writer = Writer {
            slots,
            commands,
            pending: VecDeque::new(),
            pending_bytes: 0,
            control: None,
            open: None,
        };
        tokio::spawn(writer.run());
        Self { sender, waiting: Arc::default() }
    }

    /// Appends that are not answered.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Appends a record; none if the lane has ended.
    pub(super) async fn append(
        &self,
        lsn: Lsn,
        record: Bytes,
    ) -> Option<Result<JournalPlace, JournalError>> {
        let (reply, answer) = oneshot::channel();
        let request = Request { lsn, record, reply, _waiting: Waiting::new(&self.waiting) };
        self.sender.send(Command::Append(request)).await.ok()?;
        answer.await.ok()
    }

    /// Seals the open segment, behind all that was appended before.
    pub(super) async fn seal(&self) {
        let (reply, answer) = oneshot::channel();
        if self.sender.send(Command::Seal(reply)).await.is_ok() {
            // A lane that has ended has sealed its segment.
            let _ = answer.await;
        }
    }

    /// Ends the lane, behind all that was appended before.
    pub(super) async fn close(&self) {
        let (reply, answer) = oneshot::channel();
        if self.sender.send(Command::Close(reply)).await.is_ok() {
            let _ = answer.await;
        }
    }
}

/// The lane's task.
struct Writer {
    slots: Arc<Slots>,
    commands: mpsc::Receiver<Command>,
    pending: VecDeque<Request>,
    /// What they take in frames.
    pending_bytes: usize,
    /// A command that is carried out when nothing is pending.
    control: Option<Command>,
    open: Option<Target>,
}

/// The segment that a lane writes.
#[derive(Debug)]
struct Target {
    ready: Ready,
    /// Where the next frame goes.
    at: u64,
}

impl Writer {
    async fn run(mut self) {
        let mut closed = Vec::new();
        while self.gather().await {
            if self.pending.is_empty() {
                match self.control.take() {
                    Some(Command::Seal(reply)) => {
                        self.seal();
                        // Nobody may wait for it any more.
                        let _ = reply.send(());
                    }
                    Some(Command::Close(reply)) => {
                        // What is in the queue is still done.
                        self.commands.close();
                        closed.push(reply);
                    }
                    _ => {}
                }
            } else if let Err(error) = self.step().await {
                self.fail(&error);
            }
        }
        self.seal();
        // Whoever waits for the end may open the device again at once.
        drop(self);
        for reply in closed {
            let _ = reply.send(());
        }
    }

    /// Takes what waits; waits if nothing does. Says whether there is anything to do.
    async fn gather(&mut self) -> bool {
        if self.pending.is_empty() && self.control.is_none() {
            match self.commands.recv().await {
                Some(command) => self.take_in(command),
                None => return false,
            }
        }
        while self.control.is_none() && self.pending_bytes < self.slots.config.frame_bytes_max {
            match self.commands.try_recv() {
                Ok(command) => self.take_in(command),
                Err(_) => break,
            }
        }
        true
    }

    fn take_in(&mut self, command: Command) {
        match command {
            Command::Append(request) => {
                self.pending_bytes += in_body(request.record.len());
                self.pending.push_back(request);
            }
            control => self.control = Some(control),
        }
    }

    /// Writes one frame, into another segment if need be.
    async fn step(&mut self) -> Result<(), JournalError> {
        self.slots.check()?;
        let config = self.slots.config;
        loop {
            let Some(target) = &mut self.open else {
                let ready = take(&self.slots).await?;
                self.open = Some(Target { ready, at: BLOCK as u64 });
                prepare(&self.slots);
                continue;
            };
            let lengths = self.pending.iter().map(|request| request.record.len());
            let room = config.segment_bytes - target.at;
            match plan(lengths, room, config.frame_bytes_max) {
                Plan::Frame(count) => return self.write(count).await,
                Plan::NewSegment => self.seal(),
            }
        }
    }

    /// Writes the first so many of the pending records as a frame, and answers them.
    async fn write(&mut self, count: usize) -> Result<(), JournalError> {
        let Some(target) = &self.open else { return Ok(()) };
        let Ready { slot, incarnation, file } = target.ready.clone();
        let spot = Spot { incarnation, offset: target.at };
        let first = self.pending.iter().take(count);
        let records: Vec<(Lsn, Bytes)> = first.map(|r| (r.lsn, r.record.clone())).collect();
        let (job, pieces) = self.build(spot, records).await?;
        let length = job.data.as_ref().len() as u64;
        let (slots, path) = (&self.slots, || self.slots.path(slot));
        let done = slots.device.perform(&file, job, ANSWER_MAX, path).await;
        let Done { result, .. } = done.map_err(|error| slots.unfinished(error))?;
        if let Err(Failed { operation, source }) = result {
            return Err(slots.fence(operation, &path(), &source));
        }
        let Some(target) = &mut self.open else { return Ok(()) };
        target.at += length;
        let volume = self.slots.device.number();
        let answered: Vec<Request> = self.pending.drain(..count).collect();
        let wrote: Vec<_> =
            answered.iter().zip(&pieces).map(|(r, (_, length))| (r.lsn, *length)).collect();
        self.slots.wrote(slot, &wrote);
        for (request, (offset, length)) in answered.into_iter().zip(pieces) {
            self.pending_bytes -= in_body(request.record.len());
            let place = JournalPlace { volume, slot, incarnation, offset, length };
            // Whoever does not wait any more does not hear it.
            let _ = request.reply.send(Ok(place));
        }
        Ok(())
    }

    /// A frame, ready to be written, and where its records will stand.
    async fn build(
        &self,
        spot: Spot,
        records: Vec<(Lsn, Bytes)>,
    ) -> Result<(Job, Vec<(u32, u32)>), JournalError> {
        let device = self.slots.device.clone();
        let bytes: usize = records.iter().map(|(_, record)| in_body(record.len())).sum();
        let build = move || {
            let mut data = Buffer::with_capacity(framed(bytes));
            let pieces = build(device.sealer(), spot, &records, data.bytes());
            (Job { action: Action::WriteDurable, data, offset: spot.offset }, pieces)
        };
        if bytes <= AT_ONCE as usize {
            return Ok(build());
        }
        self.slots.device.io().run(build).await.map_err(|error| self.slots.unfinished(error))
    }

    fn seal(&mut self) {
        if let Some(target) = self.open.take() {
            // A frame that failed may have left something.
            let is_untouched = target.at == BLOCK as u64 && self.slots.check().is_ok();
            self.slots.seal(target.ready, is_untouched);
        }
    }

    /// Tells all whose records are pending. The lane ends, but when only room was wanting.
    fn fail(&mut self, error: &JournalError) {
        let is_full = matches!(error, JournalError::Full { .. });
        if !is_full {
            self.commands.close();
        }
        self.pending_bytes = 0;
        for request in self.pending.drain(..) {
            let error = if is_full { self.slots.full() } else { self.slots.ended() };
            let _ = request.reply.send(Err(error));
        }
    }
}
