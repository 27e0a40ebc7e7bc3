// Requests to the server; a refusal becomes an `ApiError` with a sentence and a remedy.

export class ApiError extends Error {
  constructor(message, remedy = "", status = 0) {
    super(message);
    this.remedy = remedy;
    this.status = status;
  }
}

async function request(method, path, body, headers = {}) {
  let response;
  try {
    response = await fetch(path, { method, body, headers, cache: "no-store" });
  } catch {
    throw new ApiError("Omni does not answer.", "Is it still running? Look at its window, or start it again.");
  }
  const value = await response.json().catch(() => ({}));
  if (response.ok) return value;
  const error = value.error ?? {};
  throw new ApiError(error.message ?? `That failed (${response.status}).`, error.remedy ?? "", response.status);
}

export const get = (path) => request("GET", path);
export const post = (path, value = {}) => request("POST", path, JSON.stringify(value), { "content-type": "application/json" });
export const del = (path) => request("DELETE", path);
export const upload = (path, blob) => request("POST", path, blob, { "content-type": "application/octet-stream" });
