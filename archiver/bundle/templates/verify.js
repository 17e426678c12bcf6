"use strict";
// Checks the captures of a bundle in this browser, offline: digests, signature, timestamps, log proof.
// The numbered steps are those of the page. Nothing is sent anywhere; the page's policy forbids it.

const TRUST = JSON.parse(document.getElementById("trust").textContent);
const MAX_FILE_BYTES = 1024 ** 3; // WebCrypto digests a file only whole and in memory
const LATE_ALLOWED_MS = 1000; // of a token that states no accuracy

class Wrong extends Error {} // the evidence is not what it says
class NotChecked extends Error {} // nothing can be said here

// --- bytes -------------------------------------------------------------------------------------------------

const utf8 = text => new TextEncoder().encode(text);
const text = bytes => new TextDecoder("utf-8", {fatal: true}).decode(bytes);
const hex = bytes => [...bytes].map(byte => byte.toString(16).padStart(2, "0")).join("");
const unhex = string => Uint8Array.from(string.match(/../g) || [], pair => parseInt(pair, 16));
const unbase64 = string => Uint8Array.from(atob(string), char => char.charCodeAt(0));
const base64 = bytes => btoa(String.fromCharCode(...bytes));
const same = (a, b) => a.length === b.length && a.every((byte, at) => byte === b[at]);
const digest = async (name, bytes) => new Uint8Array(await crypto.subtle.digest(name, bytes));
const sha256 = async bytes => hex(await digest("SHA-256", bytes));

function joined(...parts) {
  const whole = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  parts.reduce((at, part) => (whole.set(part, at), at + part.length), 0);
  return whole;
}

function must(condition, what) {
  if (!condition) throw new Wrong(what);
}

async function verifiesEd25519(publicKey, signature, data) {
  let key;
  try {
    key = await crypto.subtle.importKey("raw", publicKey, "Ed25519", false, ["verify"]);
  } catch (error) {
    throw new NotChecked(`this browser cannot verify Ed25519 signatures (${error.name})`);
  }
  return crypto.subtle.verify("Ed25519", key, signature, data);
}

// --- DER (ITU-T X.690) -------------------------------------------------------------------------------------

function der(bytes, start = 0) {
  must(start + 2 <= bytes.length, "DER ends too early");
  const tag = bytes[start];
  must((tag & 31) !== 31, "DER with a long tag");
  let at = start + 2, size = bytes[start + 1];
  if (size > 127) {
    const count = size & 127;
    must(count >= 1 && count <= 4 && at + count <= bytes.length, "DER with a bad length");
    size = bytes.subarray(at, at + count).reduce((value, byte) => value * 256 + byte, 0);
    at += count;
  }
  must(at + size <= bytes.length, "DER ends too early");
  const node = {tag, bytes: bytes.subarray(start, at + size), content: bytes.subarray(at, at + size)};
  Object.defineProperty(node, "children", {get: () => derAll(node.content)});
  return node;
}

function derAll(bytes) {
  const nodes = [];
  for (let at = 0; at < bytes.length; at += nodes[nodes.length - 1].bytes.length) nodes.push(der(bytes, at));
  return nodes;
}

function oid(node) {
  must(node && node.tag === 6, "expected an object identifier");
  const numbers = [];
  let value = 0;
  for (const byte of node.content) {
    value = value * 128 + (byte & 127);
    if (byte < 128) { numbers.push(value); value = 0; }
  }
  const first = Math.min(Math.floor(numbers[0] / 40), 2);
  return [first, numbers[0] - 40 * first, ...numbers.slice(1)].join(".");
}

function moment(node) {
  const written = text(node.content);
  const year = node.tag === 0x17 ? (Number(written.slice(0, 2)) < 50 ? "20" : "19") + written : written;
  const found = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\.\d{1,9})?Z$/.exec(year);
  must(found, "a time that is not in UTC");
  const [, y, mo, d, h, mi, s, fraction] = found;
  return Date.parse(`${y}-${mo}-${d}T${h}:${mi}:${s}${(fraction || ".000").slice(0, 4).padEnd(4, "0")}Z`);
}

// --- certificates and their signatures ---------------------------------------------------------------------

const HASHES = {"2.16.840.1.101.3.4.2.1": "SHA-256", "2.16.840.1.101.3.4.2.2": "SHA-384", "2.16.840.1.101.3.4.2.3": "SHA-512"};
const SIGNATURES = {
  "1.2.840.113549.1.1.11": ["RSA", "SHA-256"], "1.2.840.113549.1.1.12": ["RSA", "SHA-384"], "1.2.840.113549.1.1.13": ["RSA", "SHA-512"],
  "1.2.840.10045.4.3.2": ["EC", "SHA-256"], "1.2.840.10045.4.3.3": ["EC", "SHA-384"], "1.2.840.10045.4.3.4": ["EC", "SHA-512"],
};
const CURVES = {"1.2.840.10045.3.1.7": ["P-256", 32], "1.3.132.0.34": ["P-384", 48], "1.3.132.0.35": ["P-521", 66]};

function certificate(bytes) {
  const [tbs, algorithm, signature] = der(bytes).children;
  const fields = tbs.children[0].tag === 0xa0 ? tbs.children.slice(1) : tbs.children;
  const [serial, , issuer, validity, subject, key, ...rest] = fields;
  const extensions = {};
  const listed = rest.find(node => node.tag === 0xa3);
  for (const one of listed ? listed.children[0].children : []) {
    const parts = one.children;
    extensions[oid(parts[0])] = {critical: parts.length === 3 && parts[1].content[0] !== 0, value: der(parts[parts.length - 1].content)};
  }
  const [from, until] = validity.children.map(moment);
  return {bytes, tbs: tbs.bytes, algorithm, signature: signature.content.subarray(1), serial: serial.content,
    issuer: issuer.bytes, subject: subject.bytes, key, extensions, from, until};
}

async function verifiesBy(cert, algorithm, signature, data, statedHash) {
  const name = oid(algorithm.children[0]);
  const plainRsa = name === "1.2.840.113549.1.1.1" && statedHash ? ["RSA", statedHash] : null;
  const [family, hash] = SIGNATURES[name] || plainRsa || [];
  if (!family) throw new NotChecked(`signature algorithm ${name} is not one that this page knows`);
  const keyAlgorithm = cert.key.children[0].children;
  if (family === "RSA") {
    const modulus = der(cert.key.children[1].content.subarray(1)).children[0].content;
    must((modulus.length - (modulus[0] === 0 ? 1 : 0)) * 8 >= 2048, "an RSA key of fewer than 2048 bits");
    const key = await crypto.subtle.importKey("spki", cert.key.bytes, {name: "RSASSA-PKCS1-v1_5", hash}, false, ["verify"]);
    return crypto.subtle.verify("RSASSA-PKCS1-v1_5", key, signature, data);
  }
  const [curve, size] = CURVES[oid(keyAlgorithm[1])] || [];
  if (!curve) throw new NotChecked("a curve that this page does not know");
  const raw = joined(...der(signature).children.map(number => {
    const value = number.content[0] === 0 ? number.content.subarray(1) : number.content;
    must(value.length <= size, "a number too long for its curve");
    return joined(new Uint8Array(size - value.length), value);
  }));
  const key = await crypto.subtle.importKey("spki", cert.key.bytes, {name: "ECDSA", namedCurve: curve}, false, ["verify"]);
  return crypto.subtle.verify({name: "ECDSA", hash}, key, raw, data);
}

function mayIssue(cert, below) {
  const constraints = cert.extensions["2.5.29.19"];
  const [isAuthority, pathLength] = constraints ? constraints.value.children : [];
  if (!isAuthority || isAuthority.tag !== 1 || isAuthority.content[0] === 0) return false;
  const usage = cert.extensions["2.5.29.15"];
  if (usage && !(usage.value.content[1] & 0x04)) return false;
  return !pathLength || pathLength.content[0] >= below;
}

async function issued(issuer, cert, below) {
  if (!same(issuer.subject, cert.issuer) || !mayIssue(issuer, below)) return false;
  return verifiesBy(issuer, cert.algorithm, cert.signature, cert.tbs);
}

// The certificates from the signer to the pinned root, which is trusted by its bytes.
async function chainTo(root, signer, others) {
  let waiting = [[signer]];
  for (let length = 1; length <= 6; length += 1) {
    const longer = [];
    for (const path of waiting) {
      const last = path[path.length - 1];
      if (same(last.bytes, root.bytes)) return path;
      if (await issued(root, last, path.length - 1)) return [...path, root];
      for (const other of others) {
        if (!path.includes(other) && await issued(other, last, path.length - 1)) longer.push([...path, other]);
      }
    }
    waiting = longer.slice(0, 16);
  }
  throw new Wrong("the authority's certificate does not lead to its pinned root");
}

function pemCertificates(bytes) {
  const blocks = text(bytes).match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) || [];
  return blocks.map(block => certificate(unbase64(block.replace(/-----[^-]+-----|\s/g, ""))));
}

// --- SSHSIG (OpenSSH PROTOCOL.sshsig) ----------------------------------------------------------------------

function sshsig(file) {
  const found = /^-----BEGIN SSH SIGNATURE-----\n([A-Za-z0-9+/=\n]+)-----END SSH SIGNATURE-----\n$/.exec(text(file));
  must(found, "not a signature file as OpenSSH writes it");
  const blob = unbase64(found[1].replace(/\n/g, ""));
  must(text(blob.subarray(0, 6)) === "SSHSIG", "not an SSHSIG");
  let at = 10;
  const next = (from = blob) => {
    const size = new DataView(from.buffer, from.byteOffset).getUint32(at);
    must(at + 4 + size <= from.length, "the signature file ends too early");
    at += 4 + size;
    return from.subarray(at - size, at);
  };
  const [publicKey, namespace, reserved, hash, signature] = [next(), next(), next(), next(), next()];
  must(at === blob.length && reserved.length === 0 && text(hash) === "sha512", "an SSHSIG of another form");
  const start = joined(sshString(utf8("ssh-ed25519")));
  must(same(publicKey.subarray(0, start.length), start) && publicKey.length === start.length + 36, "not an Ed25519 key");
  must(same(signature.subarray(0, start.length), start) && signature.length === start.length + 68, "not an Ed25519 signature");
  return {publicKey: publicKey.subarray(-32), namespace: text(namespace), value: signature.subarray(-64)};
}

function sshString(bytes) {
  const size = new Uint8Array(4);
  new DataView(size.buffer).setUint32(0, bytes.length);
  return joined(size, bytes);
}

async function checkSignature(capture, at) {
  const file = await capture.read("seal/record.json.sig");
  if (!file) throw new NotChecked("nothing signs the record");
  const signature = sshsig(file);
  must(signature.namespace === "evidence-record", "the signature was made for another purpose");
  const parts = [utf8(signature.namespace), utf8(""), utf8("sha512"), await digest("SHA-512", capture.recordBytes)];
  const signed = joined(utf8("SSHSIG"), ...parts.map(sshString));
  must(await verifiesEd25519(signature.publicKey, signature.value, signed), "the signature is not over this record.json");
  const key = TRUST.keys.find(one => one.public_key === hex(signature.publicKey));
  const name = "SHA256:" + base64(await digest("SHA-256", joined(sshString(utf8("ssh-ed25519")), sshString(signature.publicKey)))).replace(/=+$/, "");
  if (!key) throw new NotChecked(`the signature fits, but its key ${name} is none of those named on this page`);
  must(!key.valid_after || at >= Date.parse(key.valid_after), "made before its key was valid");
  must(!key.valid_before || at < Date.parse(key.valid_before), "not proven to be from before its key ended");
  must(!key.revoked_at || at < Date.parse(key.revoked_at), "not proven to be from before its key was revoked");
  return `record.json is signed by ${key.principal} with the key ${name}`;
}

// --- RFC 3161 ----------------------------------------------------------------------------------------------

async function checkToken(reply, data, authority, chainFile) {
  const [status, token] = der(reply).children;
  must(status.children[0].content.every((byte, at, all) => at < all.length - 1 || byte <= 1), "the authority refused");
  must(oid(token.children[0]) === "1.2.840.113549.1.7.2", "not CMS signed data");
  const signed = token.children[1].children[0].children;
  const [type, wrapped] = signed[2].children;
  must(oid(type) === "1.2.840.113549.1.9.16.1.4", "not a timestamp token");
  const infoBytes = wrapped.children[0].content;
  const [, policy, imprint, , time, ...more] = der(infoBytes).children;
  const imprintHash = HASHES[oid(imprint.children[0].children[0])];
  must(imprintHash, "the imprint rests on a weak algorithm");
  must(same(imprint.children[1].content, await digest(imprintHash, data)), "the token is over other bytes");
  must(!authority.policies.length || authority.policies.includes(oid(policy)), "made under a policy that is not accepted");

  const carried = signed.find(node => node.tag === 0xa0);
  const certificates = (carried ? carried.children : []).map(node => certificate(node.bytes));
  const infos = signed[signed.length - 1].children;
  must(infos.length === 1, "not exactly one signature");
  const [, sid, digestAlgorithm, attributes, signatureAlgorithm, signature] = infos[0].children;
  const [issuer, serial] = sid.children;
  const signer = certificates.find(one => same(one.issuer, issuer.bytes) && same(one.serial, serial.content));
  must(signer, "the token lacks its signer's certificate");
  const hash = HASHES[oid(digestAlgorithm.children[0])];
  must(hash, "the signature rests on a weak algorithm");

  must(attributes.tag === 0xa0, "the token has no signed attributes");
  const values = {};
  for (const one of attributes.children) {
    const name = oid(one.children[0]);
    must(!values[name] && one.children[1].children.length === 1, "an attribute stands twice");
    values[name] = one.children[1].children[0];
  }
  must(oid(values["1.2.840.113549.1.9.3"]) === "1.2.840.113549.1.9.16.1.4", "the signed attributes name another content");
  must(same(values["1.2.840.113549.1.9.4"].content, await digest(hash, infoBytes)), "the signed attributes are of another token");
  await checkNamed(values, signer);
  const toSign = attributes.bytes.slice();
  toSign[0] = 0x31;
  must(await verifiesBy(signer, signatureAlgorithm, signature.content, toSign, hash), "the token's signature does not verify");

  const usage = signer.extensions["2.5.29.37"];
  const purposes = usage ? usage.value.children.map(oid) : [];
  must(usage && usage.critical && purposes.join() === "1.3.6.1.5.5.7.3.8", "the signer's certificate is not for timestamps alone");
  const others = [...certificates, ...(chainFile ? pemCertificates(chainFile) : [])].filter(one => !same(one.bytes, signer.bytes)).slice(0, 16);
  const path = await chainTo(certificate(unbase64(authority.root)), signer, others);
  const at = moment(time);
  must(path.every(one => one.from <= at && at <= one.until), "a certificate was not valid when the token was made");
  const stated = more.find(node => node.tag === 0x30);
  return {at, latest: at + (stated ? accuracyMs(stated) : LATE_ALLOWED_MS)};
}

function accuracyMs(node) {
  const value = tag => {
    const found = node.children.find(one => one.tag === tag);
    return found ? found.content.reduce((sum, byte) => sum * 256 + byte, 0) : 0;
  };
  return value(0x02) * 1000 + value(0x80) + value(0x81) / 1000;
}

async function checkNamed(values, signer) {
  const first = values["1.2.840.113549.1.9.16.2.12"], second = values["1.2.840.113549.1.9.16.2.47"];
  must(first || second, "the token does not name its signer's certificate");
  if (first) {
    const named = first.children[0].children[0].children[0];
    must(same(named.content, await digest("SHA-1", signer.bytes)), "the token names another certificate");
  }
  if (second) {
    const parts = second.children[0].children[0].children;
    const hash = parts[0].tag === 0x30 ? HASHES[oid(parts[0].children[0])] : "SHA-256";
    const named = parts.find(node => node.tag === 0x04);
    must(hash && named && same(named.content, await digest(hash, signer.bytes)), "the token names another certificate");
  }
}

async function checkTimes(capture) {
  const proven = [], unknown = [];
  for (const name of capture.names.filter(one => /^seal\/(record|batch)\.[a-z0-9-]+\.tsr$/.test(one))) {
    const [, what, authorityName] = /^seal\/([a-z]+)\.([a-z0-9-]+)\.tsr$/.exec(name);
    const authority = TRUST.authorities.find(one => one.name === authorityName);
    if (!authority) { unknown.push(authorityName); continue; }
    const over = what === "record" ? "seal/record.json.sig" : "seal/batch-root.txt";
    const data = await capture.read(over);
    must(data, `${over} is missing`);
    if (what === "batch") await checkBatch(capture, data);
    const chainFile = await capture.read(name.replace(/\.tsr$/, ".chain.pem"));
    const found = await checkToken(await capture.read(name), data, authority, chainFile);
    must(found.latest >= Date.parse(capture.record.started_at), "the token is from before the capture");
    must(found.at <= Date.now() + 300000, "the token claims a time that has not come");
    proven.push({...found, authority: authorityName});
  }
  if (proven.length < Math.max(1, TRUST.tokens_required)) {
    throw new NotChecked(unknown.length ? `nobody here trusts the authority ${unknown.join(", ")}` : "fewer timestamps than required");
  }
  proven.sort((a, b) => a.latest - b.latest);
  return proven[0];
}

// --- Merkle trees (RFC 6962, RFC 9162) ---------------------------------------------------------------------

const leafHash = bytes => digest("SHA-256", joined(Uint8Array.of(0), bytes));
const nodeHash = (left, right) => digest("SHA-256", joined(Uint8Array.of(1), left, right));

async function checkBatch(capture, root) {
  const path = await capture.read("seal/batch-path.txt");
  must(path, "seal/batch-path.txt is missing");
  const [head, ...steps] = text(path).replace(/\n$/, "").split("\n");
  must(head === "evidence-batch-path/1" && steps.every(step => /^(left|right) [0-9a-f]{64}$/.test(step)), "not the path of a batch");
  let got = await leafHash(await capture.read("seal/record.json.sig"));
  for (const step of steps) {
    const [side, sibling] = step.split(" ");
    got = side === "left" ? await nodeHash(unhex(sibling), got) : await nodeHash(got, unhex(sibling));
  }
  must(text(root) === `evidence-batch/1\nroot ${hex(got)}\n`, "the path does not lead from the signature to the stamped root");
}

async function isIncluded(leaf, index, size, proof, root) {
  if (!(index >= 0 && index < size)) return false;
  let node = index, last = size - 1, got = leaf;
  for (const sibling of proof) {
    if (last === 0) return false;
    if (node % 2 === 1 || node === last) {
      got = await nodeHash(sibling, got);
      while (node % 2 === 0 && node !== 0) { node /= 2; last = Math.floor(last / 2); }
    } else {
      got = await nodeHash(got, sibling);
    }
    node = Math.floor(node / 2);
    last = Math.floor(last / 2);
  }
  return last === 0 && same(got, root);
}

async function checkLog(capture) {
  const entry = await capture.read("seal/record.tlog-entry.json"), file = await capture.read("seal/record.tlog-proof");
  if (!entry && !file) throw new NotChecked("no log holds the record");
  must(entry && file, "entry or proof is missing");
  const whole = text(file), end = whole.indexOf("\n\n");
  const [head, indexLine, ...hashes] = whole.slice(0, end).split("\n");
  const found = /^index (0|[1-9][0-9]{0,14})$/.exec(indexLine || "");
  must(head === "c2sp.org/tlog-proof@v1" && found, "not the proof of a log");
  const note = whole.slice(end + 2), cut = note.lastIndexOf("\n\n");
  const body = note.slice(0, cut + 1), [origin, sizeText, rootText, ...rest] = body.split("\n");
  must(cut > 0 && rest.length === 1 && /^(0|[1-9][0-9]{0,14})$/.test(sizeText), "not a checkpoint");
  const log = TRUST.logs.find(one => one.origin === origin);
  if (!log) throw new NotChecked(`the log ${origin} is none of those named on this page`);
  const ours = note.slice(cut + 2).split("\n").map(line => line.split(" ")).filter(
    ([dash, name, value]) => dash === "\u2014" && name === origin && value && hex(unbase64(value).subarray(0, 4)) === log.key_id);
  must(ours.length, "the log's key did not sign the checkpoint");
  for (const [, , value] of ours) {
    const good = await verifiesEd25519(unhex(log.public_key), unbase64(value).subarray(4), utf8(body));
    must(good, "the checkpoint's signature does not verify");
  }
  const proof = hashes.map(unbase64), index = Number(found[1]), size = Number(sizeText);
  must(await isIncluded(await leafHash(entry), index, size, proof, unbase64(rootText)), "the proof does not lead from the entry to the log's root");
  const event = JSON.parse(text(entry));
  must(event.type === "sealed" && event.capture_id === capture.record.capture_id, "the logged event is about something else");
  const expected = {"record.json": await sha256(capture.recordBytes)};
  for (const name of capture.names.filter(one => one.startsWith("seal/"))) {
    const short = name.slice(5);
    if (!/^(record\.tlog-|renewal-)/.test(short)) expected[short] = await sha256(await capture.read(name));
  }
  const names = new Set([...Object.keys(expected), ...Object.keys(event.digests)]);
  for (const name of names) must(expected[name] === event.digests[name], `the log entry names another ${name}`);
  return `entry ${index} of ${size} in the log ${origin} names the record and every file of its seal`;
}

// --- one capture -------------------------------------------------------------------------------------------

async function checkRecord(capture) {
  must(capture.recordBytes, "record.json is missing");
  capture.record = JSON.parse(text(capture.recordBytes));
  must(capture.record.format === "evidence-record/1" && Array.isArray(capture.record.artifacts), "not an evidence record");
  must(capture.record.capture_id === capture.id, `the record is that of ${capture.record.capture_id}`);
  return `record.json has the SHA-256 ${await sha256(capture.recordBytes)}`;
}

async function checkFiles(capture) {
  const listed = capture.record.artifacts, open = [];
  const edition = await readEdition(capture);
  for (const one of listed) {
    const file = capture.files.get(one.path);
    if (!file && edition.withheld.has(one.path)) {
      open.push(`${one.path} was left out of this edition (SHA-256 ${one.sha256})`);
      continue;
    }
    must(file, `${one.path} is missing`);
    must(file.size === one.bytes, `${one.path}: expected ${one.bytes} bytes, got ${file.size}`);
    if (file.size > MAX_FILE_BYTES) { open.push(`${one.path} is too large for a browser`); continue; }
    const got = await sha256(await capture.read(one.path));
    must(got === one.sha256, `${one.path}: expected SHA-256 ${one.sha256}, got ${got}`);
  }
  const known = new Set(["record.json", ...listed.map(one => one.path), ...edition.files]);
  const stray = capture.names.filter(name => !known.has(name) && !name.startsWith("seal/"));
  must(!stray.length, `nothing lists ${stray.join(", ")}`);
  if (open.length) throw new NotChecked(`${listed.length - open.length} of ${listed.length} files are as recorded. Not seen: ${open.join("; ")}`);
  return `${listed.length} files have the length and the SHA-256 that the record states`;
}

async function readEdition(capture) {
  const bytes = await capture.read("edition.json");
  if (!bytes) return {withheld: new Set(), files: []};
  const edition = JSON.parse(text(bytes));
  must(edition.record_sha256 === await sha256(capture.recordBytes), "edition.json is of another record");
  const digests = new Map(capture.record.artifacts.map(one => [one.path, one.sha256]));
  must(edition.withheld.every(one => digests.get(one.path) === one.sha256), "edition.json withholds what the record does not list");
  for (const copy of edition.derivatives) {
    const got = capture.files.has(copy.path) ? await sha256(await capture.read(copy.path)) : "nothing";
    must(got === copy.sha256, `${copy.path} is not the redacted copy that edition.json lists`);
    must(!digests.has(copy.path), "a redacted copy bears the name of a recorded file");
  }
  return {withheld: new Set(edition.withheld.map(one => one.path)), files: ["edition.json", ...edition.derivatives.map(one => one.path)]};
}

async function checkCapture(id, files, show) {
  const capture = {
    id, files, names: [...files.keys()], record: null, recordBytes: null,
    read: async name => files.has(name) ? new Uint8Array(await files.get(name).arrayBuffer()) : null,
  };
  capture.recordBytes = await capture.read("record.json");
  const results = [];
  const step = async (name, check) => {
    const result = {name, state: "passed", said: ""};
    try {
      result.said = await check();
    } catch (error) {
      // What breaks a reader is not what it says it is: nothing but a plain "not checked" is spared.
      result.state = error instanceof NotChecked ? "not checked" : "failed";
      result.said = error.message;
    }
    results.push(result);
    show(result);
    return result.state === "passed";
  };
  let time = null;
  if (await step("1. The record is that of this capture", () => checkRecord(capture))) {
    await step("2. Every file is as the record states", () => checkFiles(capture));
    await step("3. A timestamp over the signature, by a pinned authority", async () => {
      time = await checkTimes(capture);
      return `the signature existed no later than ${new Date(time.latest).toISOString()}, by the authority ${time.authority}`;
    });
    await step("4. The signature over the record", () => checkSignature(capture, time ? time.latest : Date.now()));
    await step("5. The custody log holds record and seal", () => checkLog(capture));
  }
  return overall(results.map(one => one.state));
}

function overall(states) {
  return states.includes("failed") ? "failed" : states.includes("not checked") || !states.length ? "indeterminate" : "passed";
}

// --- the page ----------------------------------------------------------------------------------------------

function element(name, content, kind = "") {
  const made = document.createElement(name);
  made.textContent = content;
  made.className = kind;
  return made;
}

function capturesIn(list) {
  const captures = new Map();
  for (const file of list) {
    const found = /(?:^|\/)captures\/([^/]+)\/(.+)$/.exec(file.webkitRelativePath);
    if (!found) continue;
    if (!captures.has(found[1])) captures.set(found[1], new Map());
    captures.get(found[1]).set(found[2], file);
  }
  return captures;
}

async function check(list) {
  const results = document.getElementById("results"), verdict = document.getElementById("verdict");
  results.replaceChildren();
  verdict.textContent = "Checking ...";
  verdict.className = "";
  const verdicts = [];
  for (const [id, files] of [...capturesIn(list)].sort()) {
    const section = element("section", "");
    const heading = element("h3", `Capture ${id}`);
    const steps = element("ul", "");
    section.append(heading, steps);
    results.append(section);
    const found = await checkCapture(id, files, one => {
      const line = element("li", "", one.state.replace(" ", "-"));
      line.append(element("strong", `${one.state.toUpperCase()}: ${one.name}. `), element("span", one.said));
      steps.append(line);
    });
    heading.textContent = `Capture ${id}: ${found.toUpperCase()}`;
    verdicts.push(found);
  }
  const worst = ["failed", "indeterminate", "passed"].find(one => verdicts.includes(one));
  verdict.className = worst || "indeterminate";
  verdict.textContent = worst ? `${verdicts.length} ${verdicts.length === 1 ? "capture" : "captures"}: ${worst.toUpperCase()}` : "No capture was found in that folder.";
}

document.getElementById("folder").addEventListener("change", event => check(event.target.files));
if (!globalThis.crypto || !crypto.subtle) {
  document.getElementById("verdict").textContent = "This browser gives this page no WebCrypto; open it in a newer one, or from the disk.";
}
