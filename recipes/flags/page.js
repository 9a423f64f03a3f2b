import { OpenFeature, ProviderEvents } from '@openfeature/web-sdk';
import { OFREPWebProvider } from '@openfeature/ofrep-web-provider';

await OpenFeature.setProviderAndWait(new OFREPWebProvider({ baseUrl: location.origin }));
const client = OpenFeature.getClient();
const show = () => {
  document.querySelector('output').textContent = client.getBooleanValue('new-checkout', false) ? 'new' : 'old';
};
client.addHandler(ProviderEvents.ConfigurationChanged, show);
show();
