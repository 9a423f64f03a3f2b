package check_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	openapi "github.com/google/gnostic-models/openapiv2"
	"google.golang.org/protobuf/proto"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	kubeopenapi "k8s.io/kube-openapi/pkg/util/proto"
	"k8s.io/kube-openapi/pkg/util/proto/validation"
	"sigs.k8s.io/json" // as the API server decodes: with upper and lower case
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/kustomize/kyaml/openapi/kubernetesapi"
	"sigs.k8s.io/yaml"
)

// manifests are the objects that kubectl apply -k sends, by their names.
type manifests struct {
	deployments  map[string]*apps.Deployment
	statefulSets map[string]*apps.StatefulSet
	services     map[string]*core.Service
	configMaps   map[string]*core.ConfigMap
	ingresses    map[string]*networking.Ingress
	policies     map[string]*networking.NetworkPolicy
	budgets      map[string]*policy.PodDisruptionBudget
}

// kustomized is the output of kubectl kustomize: YAML documents.
var kustomized = sync.OnceValues(func() (string, error) {
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), "../kubernetes")
	if err != nil {
		return "", err
	}
	text, err := built.AsYaml()
	return string(text), err
})

// models is Kubernetes' own schema, as kustomize has it.
var models = sync.OnceValues(func() (kubeopenapi.Models, error) {
	var document openapi.Document
	schema := kubernetesapi.OpenAPIMustAsset[kubernetesapi.DefaultOpenAPI]("kubernetesapi/v1_21_2/swagger.pb")
	if err := proto.Unmarshal(schema, &document); err != nil {
		return nil, err
	}
	return kubeopenapi.NewOpenAPIData(&document)
})

// parseManifests validates each document by the schema, and then by the types of the current Kubernetes, which also know newer fields.
func parseManifests(text string) (m manifests, err error) {
	for document := range strings.SplitSeq(text, "\n---\n") {
		var object struct {
			APIVersion, Kind string
			Metadata         struct{ Name string }
		}
		if err := yaml.Unmarshal([]byte(document), &object); err != nil {
			return m, err
		}
		switch kind, text := object.APIVersion+" "+object.Kind, []byte(document); kind {
		case "apps/v1 Deployment":
			err = add(&m.deployments, object.Metadata.Name, "io.k8s.api.apps.v1.Deployment", text)
		case "apps/v1 StatefulSet":
			err = add(&m.statefulSets, object.Metadata.Name, "io.k8s.api.apps.v1.StatefulSet", text)
		case "v1 Service":
			err = add(&m.services, object.Metadata.Name, "io.k8s.api.core.v1.Service", text)
		case "v1 ConfigMap":
			err = add(&m.configMaps, object.Metadata.Name, "io.k8s.api.core.v1.ConfigMap", text)
		case "networking.k8s.io/v1 Ingress":
			err = add(&m.ingresses, object.Metadata.Name, "io.k8s.api.networking.v1.Ingress", text)
		case "networking.k8s.io/v1 NetworkPolicy":
			err = add(&m.policies, object.Metadata.Name, "io.k8s.api.networking.v1.NetworkPolicy", text)
		case "policy/v1 PodDisruptionBudget":
			err = add(&m.budgets, object.Metadata.Name, "io.k8s.api.policy.v1.PodDisruptionBudget", text)
		default:
			err = fmt.Errorf("nothing checks %s", kind)
		}
		if err != nil {
			return m, fmt.Errorf("%s %s: %w", object.Kind, object.Metadata.Name, err)
		}
	}
	return m, nil
}

// add validates the JSON or YAML text, and adds the object.
func add[T any](objects *map[string]*T, name, model string, text []byte) error {
	all, err := models()
	if err != nil {
		return err
	}
	text, err = yaml.YAMLToJSONStrict(text)
	if err != nil {
		return err
	}
	var document any
	if err := yaml.Unmarshal(text, &document); err != nil {
		return err
	}
	object := new(T)
	strict, err := json.UnmarshalStrict(text, object)
	if err := errors.Join(append(append(strict, validation.ValidateModel(document, all.LookupModel(model), "")...), err)...); err != nil {
		return err
	}
	if *objects == nil {
		*objects = map[string]*T{}
	}
	(*objects)[name] = object
	return nil
}

func built(t *testing.T) (string, manifests) {
	t.Helper()
	text, err := kustomized()
	must(t, err)
	m, err := parseManifests(text)
	must(t, err)
	return text, m
}

// A manifest that Kubernetes would refuse fails here too.
func TestBrokenManifestsAreFound(t *testing.T) {
	text, _ := built(t)
	for name, change := range map[string][2]string{
		`unknown field "terminationGracePeriod"`: {"terminationGracePeriodSeconds:", "terminationGracePeriod:"},
		`expected "integer"`:                     {"replicas: 3\n", "replicas: three\n"},
		`missing required field "selector"`:      {"  selector:\n    matchLabels:\n      app.kubernetes.io/name: nats\n  serviceName", "  serviceName"},
		`cannot unmarshal number`:                {"value: 700MiB", "value: 700"},
		`nothing checks policy/v2`:               {"policy/v1\n", "policy/v2\n"},
		`unknown field "httpPost"`:               {"httpGet:", "httpPost:"},
		`quantities must match`:                  {"storage: 10Gi", "storage: 10 Gi"},
	} {
		if _, err := parseManifests(replace(t, text, change[:]...)); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%q instead of %q gives %v, want %s", change[1], change[0], err, name)
		}
	}
}
