const request = new XMLHttpRequest();
request.open('GET', '/text/synchronously-from-nested-worker', false);
request.send();
fetch('/echo/from-nested-worker', {method: 'POST', body: new Uint8Array([0, 255, 13, 10])}).then(() => postMessage('done'));
