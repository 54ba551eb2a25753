// Starts Swagger UI on the page /docs.
"use strict";
SwaggerUIBundle({
  url: "/openapi.json",
  domNode: document.getElementById("api"),
  deepLinking: true,
  displayOperationId: false,
  docExpansion: "list",
  filter: true,
  validatorUrl: null, // no request to another server
});
