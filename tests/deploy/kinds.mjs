// Validate Kubernetes documents (a JSON array on stdin) of kinds that are not Kubernetes' own; print what is wrong.
import { readFileSync } from "node:fs";
import * as keda from "@kubernetes-models/keda/keda.sh/v1alpha1";
import * as monitoring from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1";
import * as traefik from "@kubernetes-models/traefik/traefik.io/v1alpha1";

const models = { "keda.sh/v1alpha1": keda, "monitoring.coreos.com/v1": monitoring, "traefik.io/v1alpha1": traefik };
const wrong = [];
for (const document of JSON.parse(readFileSync(0, "utf8"))) {
  const Kind = models[document.apiVersion]?.[document.kind];
  try {
    if (!Kind) throw new Error("no schema is known");
    new Kind(document).validate();
  } catch (error) {
    wrong.push(`${document.kind} ${document.metadata.name}: ${error.message}`);
  }
}
console.log(wrong.join("\n"));
process.exit(wrong.length ? 1 : 0);
