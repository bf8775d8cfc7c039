// A phone written from docs/protocol.md alone, on Automerge's own JavaScript library: NDJSON over fetch, nothing of ours.
//
// It is driven line by line: a JSON command on standard input, a JSON answer on standard output. The test beside it says what to do.
import * as Automerge from '@automerge/automerge';
import { createInterface } from 'node:readline';
import { randomBytes } from 'node:crypto';

const text = (value) => new Automerge.ImmutableString(value);
const scalar = (value) => (typeof value === 'string' ? text(value) : value);
const base64 = (bytes) => Buffer.from(bytes).toString('base64');
const bytes = (base64) => new Uint8Array(Buffer.from(base64, 'base64'));

/** A UUIDv7: the phone that creates a record chooses its id. */
function uuid7() {
  const id = randomBytes(16);
  id.writeUIntBE(Date.now(), 0, 6);
  id[6] = (id[6] & 0x0f) | 0x70;
  id[8] = (id[8] & 0x3f) | 0x80;
  return id.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

class Phone {
  cursor = null;
  epoch = 1;
  records = new Map();
  outbox = [];
  seconds = 1795248000;

  async post(path, headers, body) {
    const response = await fetch(this.url + path, { method: 'POST', headers: { 'accept-language': 'en', ...headers }, body });
    const answer = await response.text();
    if (!response.ok) throw new Error(`${response.status} ${answer}`);
    return answer;
  }

  async enrol({ url, code, street }) {
    Object.assign(this, { url, street });
    const body = JSON.stringify({ code, name: 'node', platform: 'javascript' });
    const session = JSON.parse(await this.post('/v1/devices', { 'content-type': 'application/json' }, body));
    this.device = session.device_id;
    this.token = session.access_token;
    return { device: this.device };
  }

  /** 16 bytes of device id, 4 of epoch, as hex. */
  actor() {
    return this.device.replaceAll('-', '') + this.epoch.toString(16).padStart(8, '0');
  }

  /** Writes one change and puts it into the outbox; `options` go to Automerge as they are. */
  write(record, options, edit) {
    const before = Automerge.clone(this.records.get(record) ?? Automerge.init(), { actor: this.actor() });
    const after = Automerge.change(before, { time: ++this.seconds, ...options }, edit);
    if (Automerge.equals(Automerge.getHeads(before), Automerge.getHeads(after))) return { record, written: false };
    const change = Automerge.getLastLocalChange(after);
    this.records.set(record, after);
    this.outbox.push({ record, bytes: base64(change) });
    const { hash, deps } = Automerge.decodeChange(change);
    return { record, written: true, hash, deps, bytes: base64(change) };
  }

  create({ grid, fields, note, options }) {
    return this.write(uuid7(), options, (doc) => {
      Object.assign(doc, { kind: text('shop_card'), street: text(this.street), grid: text(grid), note });
      for (const [key, value] of Object.entries(fields)) doc[key] = scalar(value);
    });
  }

  set({ record, fields, options }) {
    return this.write(record, options, (doc) => {
      for (const [key, value] of Object.entries(fields)) {
        if (value === null) delete doc[key];
        else doc[key] = scalar(value);
      }
    });
  }

  note({ record, text }) {
    return this.write(record, {}, (doc) => Automerge.updateText(doc, ['note'], text));
  }

  /** What a careless client writes. */
  careless({ record, mistake }) {
    const mistakes = {
      plain_string: (doc) => (doc.unit = 'a string of JavaScript is a Text object'),
      nested: (doc) => (doc.contacts = { name: text('x') }),
      list: (doc) => (doc.tags = ['x']),
      float: (doc) => (doc.unit = 1.5),
      counter: (doc) => (doc.unit = new Automerge.Counter(1)),
      date: (doc) => (doc.unit = new Date(0)),
      null: (doc) => (doc.unit = null),
      bytes: (doc) => (doc.unit = new Uint8Array([1])),
      milliseconds: (doc) => (doc.unit = text('x')),
    };
    return this.write(record, mistake === 'milliseconds' ? { time: Date.now() } : {}, mistakes[mistake]);
  }

  async sync() {
    const sent = this.outbox;
    this.outbox = [];
    const up = [{ type: 'hello', cursor: this.cursor, client: 'foreign/1', pull: true }];
    for (const change of sent) up.push({ type: 'change', kind: 'shop_card', generation: 1, ...change });
    const headers = { authorization: `Bearer ${this.token}`, 'content-type': 'application/x-ndjson' };
    const body = up.map((item) => JSON.stringify(item) + '\n').join('');
    const down = (await this.post(`/v1/streets/${this.street}/sync`, headers, body)).trimEnd().split('\n').map((line) => JSON.parse(line));
    for (const item of down) this.receive(item);
    if (down.at(-1).type !== 'end') throw new Error('the answer has no end');
    return { items: down.map(({ type, code, status, message, hash, field }) => ({ type, code, status, message, hash, field })) };
  }

  receive(item) {
    switch (item.type) {
      case 'snapshot':
        this.records.set(item.record, Automerge.load(bytes(item.bytes), { actor: this.actor() }));
        break;
      case 'change': {
        const [doc] = Automerge.applyChanges(this.records.get(item.record), [bytes(item.bytes)]);
        this.records.set(item.record, doc);
        break;
      }
      case 'verdict':
        // The snapshot that follows a refusal is the way back; what is written on it is written under a new epoch.
        if (item.status === 'rejected') this.epoch += 1;
        break;
      case 'leave':
      case 'erase':
        this.records.delete(item.record);
        break;
      case 'checkpoint':
      case 'end':
        this.cursor = item.cursor;
        break;
    }
  }

  forget() {
    this.cursor = null;
    this.records.clear();
    return {};
  }

  show({ record }) {
    return read(this.records.get(record));
  }

  load({ document }) {
    return read(Automerge.load(bytes(document)));
  }
}

/** Every key with every concurrent value, ascending; the note; the heads. */
function read(doc) {
  const fields = {};
  for (const key of Object.keys(doc)) {
    if (key === 'note') continue;
    const values = Object.values(Automerge.getConflicts(doc, key) ?? { one: doc[key] });
    fields[key] = values.map((value) => (Automerge.isImmutableString(value) ? value.toString() : value)).sort();
  }
  return { fields, note: doc.note, heads: Automerge.getHeads(doc).toSorted() };
}

const phone = new Phone();
for await (const line of createInterface({ input: process.stdin })) {
  const { command, ...rest } = JSON.parse(line);
  let answer;
  try {
    answer = await phone[command](rest);
  } catch (error) {
    answer = { error: String(error?.stack ?? error) };
  }
  process.stdout.write(JSON.stringify(answer) + '\n');
}
