#!/usr/bin/env node
// A handler with nothing but Node's library: verifies the signature, takes each event once.
// Usage: SECRET=whsec_... node handler.js PORT
const crypto = require("crypto");
const http = require("http");

const key = Buffer.from(process.env.SECRET.replace(/^whsec_/, ""), "base64");
const seen = new Set(); // webhook-ids; a real handler keeps them in its database

function verified(headers, body) {
  const { "webhook-id": id, "webhook-timestamp": at, "webhook-signature": signatures = "" } = headers;
  if (Math.abs(Date.now() / 1000 - Number(at)) > 300) return false;
  const digest = crypto.createHmac("sha256", key).update(`${id}.${at}.`).update(body).digest("base64");
  const wanted = Buffer.from(`v1,${digest}`);
  return signatures.split(" ").some((signature) => {
    const given = Buffer.from(signature);
    return given.length === wanted.length && crypto.timingSafeEqual(given, wanted);
  });
}

http.createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    const body = Buffer.concat(chunks);
    if (!verified(request.headers, body)) {
      response.writeHead(401).end();
      return;
    }
    const id = request.headers["webhook-id"];
    if (!seen.has(id)) {
      seen.add(id);
      const { event, data } = JSON.parse(body);
      console.log(event.events_id, event.object_id, JSON.stringify(data));
    }
    response.writeHead(204).end();
  });
}).listen(Number(process.argv[2]), "127.0.0.1");
