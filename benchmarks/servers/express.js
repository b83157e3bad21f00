// The reference app's routes and one that waits, as an Express developer would write them.
// Run by cluster.js, or by PM2 in cluster mode.
"use strict";

const cluster = require("node:cluster");
const express = require("express");

const id = cluster.worker ? cluster.worker.id : 0;
const app = express();

app.get("/clustered", (req, res) => {
  res.type("text").send(`Running on worker with id #${id}`);
});

app.get("/wait/:milliseconds", (req, res) => {
  setTimeout(() => res.type("text").send("waited"), Number(req.params.milliseconds));
});

app.get("/whoami", (req, res) => {
  res.set("Connection", "close").json({ id, pid: process.pid });
});

const server = app.listen(Number(process.env.PORT), "127.0.0.1");

// Node's documented way to end; PM2 sends SIGINT, `kill` SIGTERM.
for (const name of ["SIGINT", "SIGTERM"]) {
  process.on(name, () => {
    server.close(() => process.exit(0));
    server.closeIdleConnections();
  });
}
