// Search from the disk: a browser starts no worker from file:, so there the worker of the search runs in a hidden frame.
// It does what the search asks of a worker, postMessage both ways and importScripts, and no more.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.early = [];
      window.addEventListener("message", (event) => {
        if (this.frame && event.source === this.frame.contentWindow) {
          const told = new MessageEvent("message", { data: event.data });
          this.dispatchEvent(told);
          if (typeof this.onmessage === "function") this.onmessage(told);
        }
      });
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      const script = (src) => `<script src="${String(src).replace(/"/g, "&quot;")}"><\/script>`;
      this.frame.srcdoc = `<script>
        var importScripts = (...urls) => urls.reduce((before, url) => before.then(() => new Promise((then, fail) => {
          const one = document.createElement("script");
          one.src = url; one.onload = then; one.onerror = fail;
          document.body.append(one);
        })), Promise.resolve());
        var postMessage = (data) => parent.postMessage(data, "*");
      <\/script><body>${script(new URL(url, location))}</body>`;
      this.frame.onload = () => {
        this.ready = true;
        this.early.forEach((data) => this.postMessage(data));
      };
      document.body.append(this.frame);
    }
    postMessage(data) {
      if (this.ready) this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data, source: window }));
      else this.early.push(data);
    }
    terminate() {
      this.frame.remove();
    }
  };
}
