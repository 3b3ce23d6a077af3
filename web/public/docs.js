// In a file of its own: the content security policy lets no inline script run.
SwaggerUIBundle({
  url: '/openapi.json',
  dom_id: '#docs',
  deepLinking: true,
  validatorUrl: null, // the default sends the address of the description to validator.swagger.io
})
