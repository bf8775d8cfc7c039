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
  generations = new Map();
  outbox = [];
  refused = [];
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
    return this.send(record, change);
  }

  send(record, change) {
    this.outbox.push({ record, generation: this.generations.get(record) ?? 1, bytes: base64(change) });
    const { hash, deps } = Automerge.decodeChange(change);
    return { record, written: true, hash, deps, bytes: base64(change) };
  }

  /** Writes what was refused anew on the server's copy. Values and words that its author had not seen stay. */
  rebase() {
    const refused = this.refused.map(({ record, bytes: old }) => ({ record, old: Automerge.decodeChange(bytes(old)) }));
    this.refused = [];
    this.epoch += 1;
    for (const record of new Set(refused.map((entry) => entry.record))) {
      const changes = refused.filter((entry) => entry.record === record).map((entry) => entry.old);
      // Under an id that a refused change gave, the server's copy may hold what another copy of this phone wrote.
      const given = new Set(changes.flatMap(ids));
      const seen = new Set();
      for (const old of changes) {
        for (const id of old.ops.flatMap((op) => op.pred)) if (!given.has(id)) seen.add(id);
        this.again(record, old, seen);
      }
    }
    return { written: this.outbox.length };
  }

  /** `seen`: ids of what the author had seen; what is written here is added to it. */
  again(record, old, seen) {
    const theirs = this.records.get(record);
    const changed = Automerge.change(Automerge.clone(theirs, { actor: this.actor() }), { time: ++this.seconds }, (doc) => {
      for (const { obj, action, key, value } of old.ops) {
        if (obj !== '_root') continue;
        if (action === 'del') delete doc[key];
        else doc[key] = scalar(value);
      }
      for (const [at, gone, put] of noteEdits(theirs, old)) Automerge.splice(doc, ['note'], at, gone, put);
    });
    if (Automerge.equals(Automerge.getHeads(theirs), Automerge.getHeads(changed))) return;
    // A change replaces what it names in `pred`: of that, only what the refused ones had named, and what is written anew beside it.
    const { hash, ...change } = Automerge.decodeChange(Automerge.getLastLocalChange(changed));
    ids(change).forEach((id) => seen.add(id));
    const stays = (op, id) => op.obj !== '_root' || seen.has(id);
    change.ops = change.ops.map((op) => ({ ...op, pred: op.pred.filter((id) => stays(op, id)) }));
    if (change.ops.some((op) => op.action === 'del' && op.pred.length === 0)) {
      // A deletion of what is not there is refused; the ids of the operations behind it must not move, so this one is left to the user.
      return;
    }
    const written = Automerge.encodeChange(change);
    const [doc] = Automerge.applyChanges(theirs, [written]);
    this.records.set(record, doc);
    this.send(record, written);
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
    for (const change of sent) up.push({ type: 'change', kind: 'shop_card', ...change });
    const headers = { authorization: `Bearer ${this.token}`, 'content-type': 'application/x-ndjson' };
    const body = up.map((item) => JSON.stringify(item) + '\n').join('');
    const down = (await this.post(`/v1/streets/${this.street}/sync`, headers, body)).trimEnd().split('\n').map((line) => JSON.parse(line));
    for (const item of down) this.receive(item, sent);
    if (down.at(-1).type !== 'end') throw new Error('the answer has no end');
    return { items: down.map(({ type, code, status, message, hash, field }) => ({ type, code, status, message, hash, field })) };
  }

  receive(item, sent) {
    switch (item.type) {
      case 'snapshot':
        this.generations.set(item.record, item.generation);
        this.records.set(item.record, Automerge.load(bytes(item.bytes), { actor: this.actor() }));
        break;
      case 'change': {
        const [doc] = Automerge.applyChanges(this.records.get(item.record), [bytes(item.bytes)]);
        this.records.set(item.record, doc);
        break;
      }
      case 'verdict':
        // The snapshot that follows a refusal is the way back; what is written on it is written under a new epoch.
        if (item.status === 'rejected') {
          this.epoch += 1;
          this.refused.push(sent[item.index]);
        }
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

/** The ids of a change's operations. */
function ids({ actor, startOp, ops }) {
  return ops.map((_, index) => `${startOp + index}@${actor}`);
}

/** What a change did to the note, as splices of the server's copy, the last place first. Characters are found again by their ids. */
function noteEdits(theirs, old) {
  const edits = [];
  const place = (id) => Automerge.getCursorPosition(theirs, ['note'], id);
  const stands = (id) => Automerge.getCursor(theirs, ['note'], place(id)) === id;
  const width = (id) => String.fromCodePoint(theirs.note.codePointAt(place(id))).length;
  // Where a character was that somebody took out, the next one stands.
  const behind = (id) => (id === '_head' ? 0 : place(id) + (stands(id) ? width(id) : 0));
  let counter = old.startOp;
  for (const op of old.ops) {
    const id = `${counter++}@${old.actor}`;
    if (op.obj === '_root') continue;
    const own = edits.find(({ put }) => put.some((character) => character.id === op.elemId));
    const no = own?.put.findIndex((character) => character.id === op.elemId);
    const character = { id, text: op.value };
    if (own && op.insert) own.put.splice(no + 1, 0, character);
    else if (own) own.put[no].text = '';
    else if (op.insert) edits.push({ at: behind(op.elemId), gone: 0, put: [character] });
    else if (stands(op.elemId)) edits.push({ at: place(op.elemId), gone: width(op.elemId), put: [] });
  }
  // At one place first take out: what was put in there before would be taken out instead.
  edits.sort((a, b) => b.at - a.at || b.gone - a.gone);
  return edits.map(({ at, gone, put }) => [at, gone, put.map((character) => character.text).join('')]);
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
