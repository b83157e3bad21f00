// Node's cluster, as in its documentation: fork, and fork again when a worker is gone.
"use strict";

const cluster = require("node:cluster");
const path = require("node:path");

cluster.setupPrimary({ exec: path.join(__dirname, "express.js") });
for (let i = 0; i < Number(process.env.WORKERS); i += 1) cluster.fork();
cluster.on("exit", () => cluster.fork());
