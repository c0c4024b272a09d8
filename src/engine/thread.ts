// Worker script: a thread that only computes.
import { receive } from '#port';
import { serveThread, type ThreadStart } from './serve-thread.js';

receive((message) => serveThread(message as ThreadStart));
