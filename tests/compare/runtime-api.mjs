// The Runtime API of Lambda for one process of a function, which gets one event.

import { createServer } from "node:http";
import { text } from "node:stream/consumers";
import { start, stop } from "./processes.mjs";

/** What Lambda tells every function. */
const LAMBDA = {
  AWS_LAMBDA_FUNCTION_NAME: "compared",
  AWS_LAMBDA_FUNCTION_VERSION: "1",
  AWS_LAMBDA_FUNCTION_MEMORY_SIZE: "256",
  AWS_LAMBDA_LOG_GROUP_NAME: "compared",
  AWS_LAMBDA_LOG_STREAM_NAME: "compared",
  AWS_REGION: "eu-central-1",
  AWS_ACCESS_KEY_ID: "none",
  AWS_SECRET_ACCESS_KEY: "none",
};
const TIMEOUT_MS = 60_000;

/**
 * Starts a program as a function, hands it an event, and stops it when it has answered. Resolves to the milliseconds from
 * its start until it asked for an event (`asksMs`) and until it posted its answer (`answersMs`), and the answer as text.
 */
export function invokeOnce([program, ...args], variables, event) {
  return new Promise((resolve, reject) => {
    let child;
    let beganAt;
    let asksMs;
    const server = createServer(async (request, response) => {
      const ms = performance.now() - beganAt;
      if (request.url.endsWith("/invocation/next")) {
        // What asks again is about to be stopped.
        if (asksMs === undefined) response.writeHead(200, headers()).end(JSON.stringify(event));
        asksMs ??= ms;
        return;
      }
      const answer = await text(request);
      const isAnswer = request.url.endsWith("/response");
      response.writeHead(202).end();
      server.close(() => {
        if (isAnswer) resolve({ asksMs, answersMs: ms, answer });
        else reject(new Error(`${program} failed: ${answer}`));
      });
      await stop(child);
      server.closeAllConnections();
    });
    server.listen(0, "127.0.0.1", () => {
      const env = { ...LAMBDA, ...variables, AWS_LAMBDA_RUNTIME_API: `127.0.0.1:${server.address().port}` };
      beganAt = performance.now();
      child = start(program, args, { env });
      child.ended.then(() => {
        // Otherwise it was stopped.
        if (server.listening) server.close(() => reject(new Error(`${program} ended: ${child.output()}`)));
      });
    });
  });
}

function headers() {
  return {
    "content-type": "application/json",
    "lambda-runtime-aws-request-id": "00000000-0000-4000-8000-000000000000",
    "lambda-runtime-deadline-ms": `${Date.now() + TIMEOUT_MS}`,
    "lambda-runtime-invoked-function-arn": "arn:aws:lambda:eu-central-1:123456789012:function:compared",
    "lambda-runtime-trace-id": "Root=1-00000000-000000000000000000000000;Sampled=0",
  };
}

/** The event of an HTTP API, in payload format 2.0. */
export function httpEvent(method, path, { headers, body }) {
  const routeKey = `${method} ${path}`;
  return {
    version: "2.0",
    routeKey,
    rawPath: path,
    rawQueryString: "",
    headers: { "content-type": "application/json", ...headers },
    requestContext: {
      accountId: "123456789012",
      apiId: "compared",
      domainName: "localhost",
      domainPrefix: "localhost",
      http: { method, path, protocol: "HTTP/1.1", sourceIp: "127.0.0.1", userAgent: "compare" },
      requestId: "compared",
      routeKey,
      stage: "$default",
      time: "01/Dec/2026:00:00:00 +0000",
      timeEpoch: Date.now(),
    },
    body,
    isBase64Encoded: false,
  };
}

/** The event of a WebSocket API for a frame. */
export function socketEvent(connectionId, body) {
  return {
    requestContext: {
      routeKey: "$default",
      messageId: "compared",
      eventType: "MESSAGE",
      extendedRequestId: "compared",
      requestTime: "01/Dec/2026:00:00:00 +0000",
      messageDirection: "IN",
      stage: "live",
      connectedAt: Date.now(),
      requestTimeEpoch: Date.now(),
      identity: { sourceIp: "127.0.0.1" },
      requestId: "compared",
      domainName: "localhost",
      connectionId,
      apiId: "compared",
    },
    body,
    isBase64Encoded: false,
  };
}
