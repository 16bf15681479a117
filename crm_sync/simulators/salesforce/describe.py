"""Describe: what the schema looks like to this session's user.

Source: REST API Developer Guide, "Describe Global", "sObject Describe"; SOAP API Developer Guide,
"DescribeSObjectResult". Hidden fields (field-level security) are simply absent.
"""

import email.utils
from typing import Any

from crm_sync.simulators.salesforce.rows import LAST
from crm_sync.simulators.salesforce.schema import TEXT, Field, SObject
from crm_sync.simulators.salesforce.sobjects import sobject
from crm_sync.simulators.salesforce.soql_columns import Resolver
from crm_sync.simulators.salesforce.soql_shape import attributes
from crm_sync.simulators.salesforce.web import Answer, Call

SOAP_TYPES = {
    "id": "tns:ID",
    "reference": "tns:ID",
    "boolean": "xsd:boolean",
    "int": "xsd:int",
    "double": "xsd:double",
    "currency": "xsd:double",
    "percent": "xsd:double",
    "date": "xsd:date",
    "datetime": "xsd:dateTime",
    "address": "urn:address",
}
MASTER_TYPE = "012000000000000AAA"


def all_objects(call: Call) -> Answer:
    """GET /sobjects."""
    objects = call.org.store.schema.objects.values()
    return Answer(
        body={
            "encoding": "UTF-8",
            "maxBatchSize": 200,
            "sobjects": [_summary(call, o) for o in sorted(objects, key=lambda o: o.name)],
        }
    )


def basic(call: Call) -> Answer:
    """GET /sobjects/{object}: the summary, and some records."""
    o = sobject(call)
    name_field = o.name_field
    table = call.org.store.tables[o.name]
    recent = table.rows.between("", LAST)[-5:]
    records = [
        {"attributes": attributes(o.name, row[0], call.version), "Id": row[0]}
        | ({name_field.name: table.get(row, name_field.name)} if name_field else {})
        for row in recent
    ]
    return Answer(body={"objectDescribe": _summary(call, o), "recentItems": records})


def full(call: Call) -> Answer:
    """GET /sobjects/{object}/describe; 304 if it did not change since If-Modified-Since."""
    o = sobject(call)
    changed = call.org.describe_changed
    since = call.headers.get("if-modified-since")
    stamp = email.utils.formatdate(changed, usegmt=True)
    if since is not None:
        try:
            unchanged = email.utils.parsedate_to_datetime(since).timestamp() >= int(changed)
        except ValueError:
            unchanged = False
        if unchanged:
            return Answer(304, headers={"Last-Modified": stamp})
    resolver = Resolver(call.org.store, call.org.sessions.masks(call.user))
    document = _summary(call, o) | {
        "actionOverrides": [],
        "childRelationships": [
            {
                "cascadeDelete": f.cascade,
                "childSObject": child.name,
                "deprecatedAndHidden": False,
                "field": f.name,
                "junctionIdListNames": [],
                "junctionReferenceTo": [],
                "relationshipName": f.child_relationship,
                "restrictedDelete": False,
            }
            for child, f in call.org.store.schema.children(o.name)
        ],
        "compactLayoutable": True,
        "defaultImplementation": None,
        "extendedBy": None,
        "extendsInterfaces": None,
        "fields": [_field(f) for f in resolver.visible(o)],
        "implementedBy": None,
        "implementsInterfaces": None,
        "listviewable": None,
        "lookupLayoutable": None,
        "namedLayoutInfos": [],
        "networkScopeFieldName": None,
        "recordTypeInfos": _record_types(call, o),
        "sobjectDescribeOption": "FULL",
        "supportedScopes": [{"label": f"All {o.plural.lower()}", "name": "everything"}],
    }
    return Answer(body=document, headers={"Last-Modified": stamp})


def _summary(call: Call, o: SObject) -> dict[str, Any]:
    base = f"/services/data/v{call.version}/sobjects/{o.name}"
    return {
        "activateable": False,
        "associateEntityType": None,
        "associateParentEntity": None,
        "createable": o.createable,
        "custom": o.name.endswith("__c"),
        "customSetting": False,
        "deepCloneable": False,
        "deletable": o.deletable,
        "deprecatedAndHidden": False,
        "feedEnabled": o.createable,
        "hasSubtypes": False,
        "isInterface": False,
        "isSubtype": False,
        "keyPrefix": o.prefix,
        "label": o.label,
        "labelPlural": o.plural,
        "layoutable": True,
        "mergeable": o.mergeable,
        "mruEnabled": True,
        "name": o.name,
        "queryable": True,
        "replicateable": True,
        "retrieveable": True,
        "searchable": True,
        "triggerable": o.createable,
        "undeletable": o.deletable,
        "updateable": o.updateable,
        "urls": {
            "sobject": base,
            "describe": f"{base}/describe",
            "rowTemplate": f"{base}/{{ID}}",
            "layouts": f"{base}/describe/layouts",
        },
    }


def _field(f: Field) -> dict[str, Any]:
    compound = f.type == "address"
    formula = f.compute is not None and not compound and not f.name_field
    return {
        "aggregatable": not f.long_text and not compound,
        "aiPredictionField": False,
        "autoNumber": False,
        "byteLength": f.length * 3,
        "calculated": formula,
        "calculatedFormula": f.formula,
        "cascadeDelete": f.cascade,
        "caseSensitive": f.case_sensitive,
        "compoundFieldName": f.compound,
        "controllerName": None,
        "createable": f.createable,
        "custom": f.custom,
        "defaultValue": f.default if f.type in {"boolean", "string"} else None,
        "defaultValueFormula": None,
        "defaultedOnCreate": f.defaulted,
        "dependentPicklist": False,
        "deprecatedAndHidden": False,
        "digits": f.precision if f.type == "int" else 0,
        "displayLocationInDecimal": False,
        "encrypted": False,
        "externalId": f.external_id,
        "extraTypeInfo": "plaintextarea" if f.type == "textarea" else None,
        "filterable": f.filterable,
        "filteredLookupInfo": None,
        "formulaTreatNullNumberAsZero": False,
        "groupable": f.filterable
        and f.type not in {"currency", "double", "percent", "datetime", "multipicklist"},
        "highScaleNumber": False,
        "htmlFormatted": False,
        "idLookup": f.external_id or f.type == "id" or f.name == "Email",
        "inlineHelpText": None,
        "label": f.label,
        "length": f.length,
        "mask": None,
        "maskType": None,
        "name": f.name,
        "nameField": f.name_field,
        "namePointing": len(f.reference_to) > 1,
        "nillable": f.nillable,
        "permissionable": f.nillable and f.type != "id",
        "picklistValues": [_choice(f, value) for value in f.picklist],
        "polymorphicForeignKey": len(f.reference_to) > 1,
        "precision": 0 if f.type == "int" else f.precision,
        "queryByDistance": False,
        "referenceTargetField": None,
        "referenceTo": list(f.reference_to),
        "relationshipName": f.relationship,
        "relationshipOrder": None,
        "restrictedDelete": False,
        "restrictedPicklist": f.restricted,
        "scale": f.scale,
        "searchPrefilterable": f.type == "reference",
        "soapType": SOAP_TYPES.get(f.type, "xsd:string"),
        "sortable": f.filterable and f.type != "multipicklist",
        "type": f.type if f.type in TEXT or f.type in SOAP_TYPES else "string",
        "unique": f.unique,
        "updateable": f.updateable,
        "writeRequiresMasterRead": False,
    }


def _choice(f: Field, value: str) -> dict[str, Any]:
    return {
        "active": True,
        "defaultValue": value == f.default,
        "label": value,
        "validFor": None,
        "value": value,
    }


def _record_types(call: Call, o: SObject) -> list[dict[str, Any]]:
    table = call.org.store.tables["RecordType"]
    place = table.object.position["SobjectType"]
    named = [
        _record_type(
            call, o, row[0], table.get(row, "Name"), table.get(row, "DeveloperName"), default=number == 0
        )
        for number, row in enumerate(row for row in table.rows.values() if row[place] == o.name)
    ]
    return [*named, _record_type(call, o, MASTER_TYPE, "Master", "Master", default=not named)]


def _record_type(
    call: Call, o: SObject, type_id: str, name: str, developer_name: str, *, default: bool
) -> dict[str, Any]:
    return {
        "active": True,
        "available": True,
        "defaultRecordTypeMapping": default,
        "developerName": developer_name,
        "master": developer_name == "Master",
        "name": name,
        "recordTypeId": type_id,
        "urls": {"layout": f"/services/data/v{call.version}/sobjects/{o.name}/describe/layouts/{type_id}"},
    }
