// Asks for flags as an application does, with OpenFeature's own libraries (found by NODE_PATH).
//
// Arguments: the address of the admin listener, a token or nothing, and a list of questions as JSON, each of which
// is [type, flag, default, context]. Prints the list of what the client says to each.

const { OpenFeature } = require("@openfeature/server-sdk");
const { OFREPProvider } = require("@openfeature/ofrep-provider");

async function main([baseUrl, token, questions]) {
  const headers = token ? [["X-API-Key", token]] : [];
  await OpenFeature.setProviderAndWait(new OFREPProvider({ baseUrl, headers }));
  const client = OpenFeature.getClient();
  const ask = {
    boolean: client.getBooleanDetails,
    string: client.getStringDetails,
    number: client.getNumberDetails,
    object: client.getObjectDetails,
  };
  const answers = [];
  for (const [type, flag, fallback, context] of JSON.parse(questions)) {
    const { value, variant, reason, errorCode, flagMetadata } = await ask[type].call(
      client,
      flag,
      fallback,
      context,
    );
    answers.push({ value, variant, reason, errorCode, metadata: flagMetadata });
  }
  console.log(JSON.stringify(answers));
  await OpenFeature.close();
}

main(process.argv.slice(2));
