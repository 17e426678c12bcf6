import { value } from '/worker-part.js';
await fetch('/text/from-module-worker?' + value);
await import('/worker-late.js');
postMessage('done');
