importScripts('/worker-imported.js');
fetch('/text/from-worker').then(() => {
  const nested = new Worker('/worker-nested.js');
  nested.onmessage = () => postMessage('done');
});
